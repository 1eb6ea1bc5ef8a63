"""The final metrics of a run, and which way each of them is better."""

from collections.abc import Iterable

from batchlab.errors import ConfigError, nearest

DIRECTIONS = {
    "final/train_loss": "minimize",
    "final/val_loss": "minimize",
    "final/val_accuracy": "maximize",
    "final/val_precision": "maximize",
    "final/val_recall": "maximize",
    "final/val_auroc": "maximize",
    "final/val_auprc": "maximize",
    "cost/train_seconds": "minimize",
    "cost/calibrated_train_seconds": "minimize",
    "cost/eval_seconds": "minimize",
    "cost/measure_seconds": "minimize",
    "cost/warmup_seconds": "minimize",
    "cost/compile_seconds": "minimize",
    "cost/total_seconds": "minimize",
    "cost/num_steps": "minimize",
    "cost/num_examples": "minimize",
    "cost/examples_per_second": "maximize",
    "cost/peak_memory_bytes": "minimize",
    "target/seconds": "minimize",
    "target/epochs": "minimize",
    "target/steps": "minimize",
    "target/examples": "minimize",
    "sharpness/train_loss": "minimize",
    "sharpness/lambda_max": "minimize",
    "sharpness/lr_lambda_max": "minimize",
    "sharpness/adaptive_sam": "minimize",
    "sharpness/trace": "minimize",
    "sharpness/sam": "minimize",
    "sharpness/keskar_1e-3": "minimize",
    "sharpness/keskar_5e-4": "minimize",
    "sharpness/keskar_subspace_1e-3": "minimize",
    "sharpness/keskar_subspace_5e-4": "minimize",
}
MEASURED, CALIBRATED = TIMES = ("cost/train_seconds", "cost/calibrated_train_seconds")
"""Seconds of training: as the clock measured them beside whatever else ran, and step times measured alone x steps."""
SHARPNESS = "sharpness/"
"""Names of measures of `measure.sharpness` begin so; whatever is called so is minimized."""
TEST_METRICS = ("final/test_accuracy",)
"""Measured once at the end; never an objective."""


def parse_objective(objective: str) -> tuple[str, str]:
    """Split an objective into name and direction: ``x``, or ``minimize:x`` / ``maximize:x`` to override its own.

    Raises:
        KeyError: for a name that is not a final metric (`check_objectives` says it to the person).
    """
    direction, colon, name = objective.rpartition(":")
    return name, direction if colon else direction_of(name)


def direction_of(name: str) -> str:
    """Return the natural direction of a final metric; KeyError where it is none."""
    return "minimize" if name.startswith(SHARPNESS) else DIRECTIONS[name]


def is_final(objective: str) -> bool:
    """Tell whether the direction of an objective is known: it is typed, or that of a final metric."""
    return ":" in objective or objective in DIRECTIONS or objective.startswith(SHARPNESS)


def is_measured(objectives: Iterable[str]) -> bool:
    """Tell whether one of them is a measure of sharpness, so that its settings decide the objective's value."""
    return any(objective.rpartition(":")[2].startswith(SHARPNESS) for objective in objectives)


def check_objectives(objectives: list[str]) -> list[ConfigError]:
    """Find objectives that are no final metrics, or that are measured on the test split."""
    errors = []
    for objective in objectives:
        direction, colon, name = objective.rpartition(":")
        if colon and direction not in ("minimize", "maximize"):
            allowed = "a direction is minimize or maximize"
            errors.append(ConfigError("objectives", objective, allowed, f"objectives=[minimize:{name}]"))
        if name in TEST_METRICS:
            allowed = "the test split is measured once, at the end; select on val"
            errors.append(ConfigError("objectives", objective, allowed, "objectives=[final/val_accuracy]"))
        elif name not in DIRECTIONS and not name.startswith(SHARPNESS):  # check.py knows which of them are measured
            allowed = f"not a final metric; there are {', '.join(DIRECTIONS)}"
            fix = nearest(name, DIRECTIONS) or "final/val_accuracy"
            errors.append(ConfigError("objectives", objective, allowed, f"objectives=[{fix}]"))
        elif objectives.count(objective) > 1 and objective not in (error.value for error in errors):
            allowed = "stands there several times"
            once = ",".join(dict.fromkeys(objectives))
            errors.append(ConfigError("objectives", objective, allowed, f"objectives=[{once}]"))
    if not objectives:
        allowed = "at least one final metric"
        errors.append(ConfigError("objectives", "[]", allowed, "objectives=[final/val_accuracy]"))
    return errors
