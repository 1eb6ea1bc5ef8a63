"""Which seconds a study optimises: fixed when it is made, whatever number of workers goes on with it."""

from dataclasses import replace

from omegaconf import DictConfig, OmegaConf
from optuna.study import Study

from batchlab.config.objectives import MEASURED, TIMES
from batchlab.config.registration import time_objective
from batchlab.search.settings import Settings
from batchlab.search.space import Space
from batchlab.search.study import metrics_of


def fix_time_objective(
    settings: Settings, space: Space, base: DictConfig, study: Study | None
) -> tuple[Settings, Space]:
    """Settings and space with the study's own seconds among the objectives, where a person typed none.

    Args:
        settings: as they were read.
        space: what is searched.
        base: the composed configuration, nothing resolved; HydraConfig has it.
        study: of that name, or None.

    Returns:
        Both, changed where the objectives are not what every composition says by itself: then they are one of the
        fixed overrides, so that each job and each pick has them.
    """
    node = OmegaConf.select(base, "objectives")
    if node is None or "${time_objective:}" not in str(OmegaConf.to_container(node, resolve=False)):
        return settings, space
    here, begun = time_objective(), metrics_of(study)[0] if study else []
    own = next((each for each in TIMES if each in begun), here)
    if own == here == MEASURED:
        return settings, space
    metrics = tuple(own if each == here else each for each in settings.metrics)
    objectives = ",".join(str(each).replace(here, own) for each in node)
    fixed = (*(each for each in space.fixed if not each.startswith("objectives=")), f"objectives=[{objectives}]")
    return replace(settings, metrics=metrics), replace(space, fixed=fixed)
