"""What a study is about: objectives, space, fixed settings, data. The same name for another one is refused."""

from omegaconf import DictConfig, OmegaConf

from batchlab.config.identity import settings_affecting
from batchlab.config.keys import Affects
from batchlab.config.objectives import is_measured
from batchlab.search.search_plan import typed_config
from batchlab.search.settings import Settings
from batchlab.search.space import Space
from batchlab.search.study import DIGEST


def fingerprint(settings: Settings, space: Space, base: DictConfig) -> dict[str, str]:
    """A flat description of a study, by key.

    Args:
        settings: objectives.
        space: dimensions.
        base: the configuration of the fixed settings, Hydra's node included.

    Returns:
        Text by key; settings that a dimension moves have the dimension's description.
    """
    stamp = {f"{each.key.lstrip('+')}": each.described() for each in space.dimensions}
    stamp["objectives"] = ", ".join(
        f"{direction} {metric}" for metric, direction in zip(settings.metrics, settings.directions, strict=True)
    )
    if OmegaConf.select(base, "data._target_") is None:  # a task function that is not batchlab's
        return stamp | {"fixed": " ".join(sorted(space.fixed))}
    from batchlab.training.data_loading import load_dataset  # torch: another application's search does without

    typed = typed_config(base)
    groups = tuple(f"{each.key}." for each in space.structural)
    measures = Affects.MEASURES if is_measured(settings.metrics) else Affects.NOTHING
    fixed = settings_affecting(typed, Affects.IDENTITY | Affects.SEEDS | measures)
    fixed = {key: value for key, value in fixed.items() if not key.startswith(groups)}
    moved = {"lr", "epochs"} if any(each.key in ("optimizer", "budget") for each in space.structural) else set()
    fixed = {key: value for key, value in fixed.items() if key not in moved}
    return {key: str(value) for key, value in fixed.items()} | stamp | {DIGEST: load_dataset(typed.data).digest}
