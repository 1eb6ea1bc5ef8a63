"""The final metrics of a run, and which way each of them is better."""

from collections.abc import Iterable

from batchlab.errors import ConfigError, nearest

LARGER_IS_BETTER = (
    *("final/val_accuracy", "final/val_precision", "final/val_recall", "final/val_auroc", "final/val_auprc"),
    "cost/examples_per_second",
)
SMALLER_IS_BETTER = (
    *("final/train_loss", "final/val_loss", "cost/train_seconds", "cost/calibrated_train_seconds"),
    *("cost/eval_seconds", "cost/measure_seconds", "cost/warmup_seconds", "cost/compile_seconds", "cost/total_seconds"),
    *("cost/num_steps", "cost/num_examples", "cost/peak_memory_bytes"),
    *("target/seconds", "target/epochs", "target/steps", "target/examples"),
    *("sharpness/train_loss", "sharpness/lambda_max", "sharpness/lr_lambda_max", "sharpness/adaptive_sam"),
    *("sharpness/trace", "sharpness/sam", "sharpness/keskar_1e-3", "sharpness/keskar_5e-4"),
    *("sharpness/keskar_subspace_1e-3", "sharpness/keskar_subspace_5e-4"),
)
DIRECTIONS = dict.fromkeys(LARGER_IS_BETTER, "maximize") | dict.fromkeys(SMALLER_IS_BETTER, "minimize")
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
    if odd := [each for each in objectives if not isinstance(each, str)]:
        allowed = "each objective is the name of a final metric"
        return [ConfigError("objectives", each, allowed, "objectives=[final/val_accuracy]") for each in odd]
    names = [each.rpartition(":")[2] for each in objectives]
    for place, objective in enumerate(objectives):

        def instead(better: str, objective: str = objective) -> str:
            changed = dict.fromkeys(better if each == objective else each for each in objectives)
            return f"objectives=[{','.join(changed)}]"

        direction, colon, name = objective.rpartition(":")
        if colon and direction not in ("minimize", "maximize"):
            allowed = "a direction is minimize or maximize"
            meant = nearest(direction, ("minimize", "maximize")) or DIRECTIONS.get(name, "minimize")
            errors.append(ConfigError("objectives", objective, allowed, instead(f"{meant}:{name}")))
        if name in TEST_METRICS:
            allowed = "the test split is measured once, at the end; select on val"
            errors.append(ConfigError("objectives", objective, allowed, instead("final/val_accuracy")))
        elif name not in DIRECTIONS and not name.startswith(SHARPNESS):  # the rules know which of them are measured
            allowed = f"not a final metric; there are {', '.join(DIRECTIONS)}"
            fix = nearest(name, DIRECTIONS) or "final/val_accuracy"
            errors.append(ConfigError("objectives", objective, allowed, instead(fix)))
        elif names.index(name) < place:
            allowed = "stands there several times"
            once = [each for at, each in enumerate(objectives) if names.index(names[at]) == at]
            errors.append(ConfigError("objectives", objective, allowed, f"objectives=[{','.join(once)}]"))
    if not objectives:
        allowed = "at least one final metric"
        errors.append(ConfigError("objectives", "[]", allowed, "objectives=[final/val_accuracy]"))
    return errors
