"""The study of a search as its store has it: opened once before anything begins, asked what it is about."""

from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from batchlab.config.installation import program
from batchlab.errors import ConfigError, reason
from batchlab.search.fingerprint import fingerprint
from batchlab.search.search_plan import SearchPlan
from batchlab.search.settings import Settings
from batchlab.search.storage import open_storage
from batchlab.search.study import Study, check_fingerprint, found_study
from batchlab.search.time_objective import fix_time_objective
from batchlab.system.environment_errors import masked
from batchlab.tracking.stores import optuna_url

FIXES = {
    "password": "PGPASSWORD=... in front of python, or write a line into ~/.pgpass",
    "does not exist": "the name of a database that is there, or make it with createdb",
    "GRPC connection": f"the address at which `{program('proxy')}` listens, when it runs",
    "refused": "the address at which the server listens, when it runs",
    "dialects:postgres": "postgresql+psycopg:// at its beginning",
}
"""What mends a store that cannot be opened, by a word of the reason."""


def storage_error(settings: Settings, error: Exception) -> ConfigError:
    """The error of a store that cannot be opened, with what mends it where the reason is known."""
    address, why = masked(str(settings.storage or optuna_url(settings.mlruns))), masked(reason(error))
    fix = next((fix for word, fix in FIXES.items() if word in why), "")
    kinds = "an address of SQLAlchemy, grpc://host:port or a journal file .log"
    allowed = f"cannot be opened: {why}" if fix else f"cannot be opened as {kinds}: {why}"
    return ConfigError(
        "hydra.sweeper.storage", address, allowed, fix or "hydra.sweeper.storage=null for mlruns/optuna.db"
    )


def as_begun(plan: SearchPlan, base: DictConfig) -> tuple[SearchPlan, list[ConfigError]]:
    """The plan with the seconds that its study optimises already, where a person typed none.

    Args:
        plan: everything else about it is right.
        base: the composed configuration of the fixed settings.

    Returns:
        The plan, and an error where the store cannot be opened, or the study of this name is another one.
    """
    settings = plan.settings
    try:
        study = _find(settings)
    except Exception as error:
        return plan, [storage_error(settings, error)]
    HydraConfig.instance().set_config(base)  # corners have been composed since
    settings, space = fix_time_objective(settings, plan.space, base, study)
    plan = replace(plan, settings=settings, space=space, fingerprint=fingerprint(settings, space, base))
    return plan, check_fingerprint(study, plan.fingerprint) if study else []


def _find(settings: Settings) -> Study | None:
    """The study where there is one; a store that is made when the search begins is not made now.

    Args:
        settings: name and store; an error of the store is raised as it is.
    """
    address = settings.storage or optuna_url(settings.mlruns)
    if isinstance(address, str) and address.startswith("sqlite:///"):
        path = Path(address.removeprefix("sqlite:///"))
        if (not path.exists() and path.parent.exists()) or (not settings.storage and not path.exists()):
            return None
    return found_study(settings, open_storage(settings.mlruns, settings.storage))
