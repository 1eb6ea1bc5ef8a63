"""The file that hydra-optuna-sweeper leaves in the sweep's folder, for scripts that read it."""

from pathlib import Path
from typing import Any

import yaml
from optuna.study import Study
from optuna.trial import FrozenTrial

from batchlab.search.picks import candidates
from batchlab.search.settings import Settings
from batchlab.search.space import Space


def write_solutions(folder: Path, study: Study, settings: Settings, space: Space) -> None:
    """Write ``optimization_results.yaml``: the best parameters and value, or every solution of several objectives.

    Args:
        folder: of the sweep; made where there is none.
        study: whose trials are looked at.
        settings: objectives, number of trials.
        space: what was searched.
    """
    front = candidates(study, settings).front
    if not front:
        return
    results: dict[str, Any] = {"name": "batchlab"}
    if len(settings.metrics) == 1:
        results |= {"best_params": typed(space, front[0]), "best_value": front[0].values[0]}
    else:
        results["solutions"] = [{"params": typed(space, each), "values": list(each.values)} for each in front]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "optimization_results.yaml").write_text(yaml.safe_dump(results, sort_keys=False))


def typed(space: Space, trial: FrozenTrial) -> dict[str, Any]:
    """Key -> value of what was searched, as it would be typed, and not as Optuna counts it (`log2(batch_size)`)."""
    pairs = (line.lstrip("+").split("=", 1) for line in space.lines(trial.params))
    return {key: yaml.safe_load(value) for key, value in pairs}
