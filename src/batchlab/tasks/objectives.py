"""The final metrics of a run, and which way each of them is better."""

from collections.abc import Iterable, Sequence

from batchlab.config.objectives import SCORE
from batchlab.errors import ConfigError, nearest
from batchlab.tasks.known_tasks import FINAL, METRICS
from batchlab.tasks.metric import Metric
from batchlab.tasks.task import Task

SMALLER_IS_BETTER = (
    *("final/train_loss", "cost/train_seconds", "cost/calibrated_train_seconds"),
    *("cost/eval_seconds", "cost/measure_seconds", "cost/warmup_seconds", "cost/compile_seconds", "cost/total_seconds"),
    *("cost/num_steps", "cost/num_examples", "cost/peak_memory_bytes"),
    *("target/seconds", "target/epochs", "target/steps", "target/examples"),
    *("sharpness/train_loss", "sharpness/lambda_max", "sharpness/lr_lambda_max", "sharpness/adaptive_sam"),
    *("sharpness/trace", "sharpness/sam", "sharpness/keskar_1e-3", "sharpness/keskar_5e-4"),
    *("sharpness/keskar_subspace_1e-3", "sharpness/keskar_subspace_5e-4"),
)
DIRECTIONS = (
    {f"{FINAL}{name}": metric.direction for name, metric in METRICS.items()}
    | {"cost/examples_per_second": "maximize"}
    | dict.fromkeys(SMALLER_IS_BETTER, "minimize")
)
SHARPNESS = "sharpness/"
"""Names of measures of `measure.sharpness` begin so; whatever is called so is minimized."""
TEST = "final/test_"
"""Names of what is measured once at the end begin so; never an objective."""


def name_of(objective: str) -> str:
    """Return the name of an objective that may have a direction in front, ``maximize:x``."""
    return objective.rpartition(":")[2]


def parse_objective(objective: str, score: Metric) -> tuple[str, str]:
    """Split an objective into name and direction: ``x``, or ``minimize:x`` / ``maximize:x`` to override its own.

    ``score`` becomes the final metric of that name.

    Raises:
        KeyError: for a name that is not a final metric (`check_objectives` says it to the person).
    """
    direction, colon, name = objective.rpartition(":")
    name = f"{FINAL}{score.name}" if name == SCORE else name
    return name, direction if colon else direction_of(name)


def direction_of(name: str) -> str:
    """Return the natural direction of a final metric; KeyError where it is none."""
    return "minimize" if name.startswith(SHARPNESS) else DIRECTIONS[name]


def is_final(objective: str) -> bool:
    """Tell whether the direction of an objective is known: it is typed, or that of a final metric or of the score."""
    return ":" in objective or objective in (*DIRECTIONS, SCORE) or objective.startswith(SHARPNESS)


def judging_objective(metrics: Sequence[str]) -> str | None:
    """Return the objective by which trials are judged: the first that is measured on the validation split."""
    return next((name for name in metrics if name.startswith(FINAL)), None)


def is_measured(objectives: Iterable[str]) -> bool:
    """Tell whether one of them is a measure of sharpness, so that its settings decide the objective's value."""
    return any(name_of(objective).startswith(SHARPNESS) for objective in objectives)


def replaced(objectives: Sequence[str], old: str, new: str) -> str:
    """Return what to type for objectives of which one is another."""
    return f"objectives=[{','.join(dict.fromkeys(new if each == old else each for each in objectives))}]"


def check_objectives(objectives: list[str]) -> list[ConfigError]:
    """Find objectives that are no final metrics, or that are measured on the test split."""
    errors = list[ConfigError]()
    if odd := [each for each in objectives if not isinstance(each, str)]:  # pyright: ignore[reportUnnecessaryIsInstance], as typed
        allowed = "each objective is the name of a final metric"
        return [ConfigError("objectives", each, allowed, "objectives=[score]") for each in odd]
    names = [name_of(each) for each in objectives]
    for place, objective in enumerate(objectives):
        direction, colon, name = objective.rpartition(":")
        if colon and direction not in ("minimize", "maximize"):
            allowed = "a direction is minimize or maximize"
            meant = nearest(direction, ("minimize", "maximize")) or DIRECTIONS.get(name, "minimize")
            fix = replaced(objectives, objective, f"{meant}:{name}")
            errors.append(ConfigError("objectives", objective, allowed, fix))
        if name.startswith(TEST):
            allowed = "the test split is measured once, at the end; select on val"
            known = f"{FINAL}{name.removeprefix(TEST)}"
            fix = replaced(objectives, objective, known if known in DIRECTIONS else SCORE)
            errors.append(ConfigError("objectives", objective, allowed, fix))
        elif name not in (*DIRECTIONS, SCORE) and not name.startswith(SHARPNESS):  # rules know which are measured
            allowed = f"not a final metric; there are {SCORE}, {', '.join(DIRECTIONS)}"
            fix = replaced(objectives, objective, _meant(name))
            errors.append(ConfigError("objectives", objective, allowed, fix))
        elif names.index(name) < place:
            allowed = "stands there several times"
            once = [each for at, each in enumerate(objectives) if names.index(names[at]) == at]
            errors.append(ConfigError("objectives", objective, allowed, f"objectives=[{','.join(once)}]"))
    if not objectives:
        allowed = "at least one final metric"
        errors.append(ConfigError("objectives", "[]", allowed, "objectives=[score]"))
    return errors


def _meant(name: str) -> str:
    """The final metric that a wrong name is nearest to: one of val by its last part alone, too."""
    last = name.rpartition("/")[2].removeprefix("val_")
    return f"{FINAL}{last}" if last in METRICS else nearest(name, DIRECTIONS) or SCORE


def check_of_task(objectives: list[str], score: str | None, task: Task) -> list[ConfigError]:
    """Find objectives, and a score, that the task of the data does not have."""
    known, errors = ", ".join(each.name for each in task.metrics), list[ConfigError]()
    allowed = f"{task.name} has none of this name; it has {known}"
    if score is not None and task.find(score) is None:
        meant = nearest(score, [each.name for each in task.metrics]) or task.score.name
        errors.append(ConfigError("score", score, allowed, f"score={meant}"))
    judging = [each for each in objectives if name_of(each) == SCORE or name_of(each).startswith(FINAL)]
    if score is not None and judging and name_of(judging[0]) not in (SCORE, f"{FINAL}{score}"):
        said = f"trials are judged by {judging[0]}, the first objective of val"
        errors.append(ConfigError("score", score, said, replaced(objectives, judging[0], SCORE)))
    judge = f"{FINAL}{score or task.score.name}"
    if any(name_of(each) == SCORE for each in objectives) and judge in map(name_of, objectives):
        fix = f"objectives=[{','.join(each for each in objectives if name_of(each) != judge)}]"
        errors.append(ConfigError("objectives", SCORE, f"stands there twice: it is {judge}", fix))
    for objective in objectives:
        name = name_of(objective)
        if name.startswith(FINAL) and task.find(name.removeprefix(FINAL)) is None:
            fix = replaced(objectives, objective, SCORE)
            errors.append(ConfigError("objectives", objective, allowed, fix))
    return errors
