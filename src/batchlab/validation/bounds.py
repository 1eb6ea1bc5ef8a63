"""Gate 1 of what any value may be: targets that are names, numbers that a computer can count to."""

from collections.abc import Iterator
from typing import Any

from batchlab.config.schema import OPEN_GROUPS, Config
from batchlab.errors import ConfigError

MOST = 10**15
"""Steps, examples or seconds: more than any run takes, and still exact as a float."""
LARGEST_SEED = 2**32 - 2**16
"""NumPy's generators take 32 bits; later seeds of a run, and a search's fresh ones, come after it."""
MOST_SEEDS = 10_000
MOST_THREADS = 1024
BYTES_OF_A_NAME = 200
"""File systems take 255 for a name; a study's has endings."""


def check_targets(config: Config) -> Iterator[ConfigError]:
    """Open groups whose `_target_` is no name of a function or class; nothing else can be said of them then."""
    for group in OPEN_GROUPS:
        target = getattr(config, group).get("_target_")
        if not isinstance(target, str) or not target:
            allowed = "the name of a function or class"
            yield ConfigError(f"{group}._target_", target, allowed, f"the command without {group}._target_")
    for name, node in config.measure.sharpness.items():
        if isinstance(node, dict) and not isinstance(node.get("_target_", ""), str):
            key = f"measure.sharpness.{name}._target_"
            yield ConfigError(key, node["_target_"], "the name of a function", "measure=sharpness without it")


def check_bounds(config: Config) -> Iterator[ConfigError]:
    """Numbers beyond what can be counted, computed with or started; gate 1's other checks see those below."""
    budget, memory = config.budget, config.memory
    counts = {"eval.every_examples": config.eval.every_examples, "epochs": config.epochs}
    counts |= {f"budget.{name}": value for name, value in vars(budget).items() if name != "kind"}
    counts |= {"memory.limit_bytes": memory.limit_bytes, "memory.max_micro_batch_size": memory.max_micro_batch_size}
    counts |= {"micro_batch_size": config.micro_batch_size, "measure.num_examples": config.measure.num_examples}
    counts |= {"measure.every_evals": config.measure.every_evals}
    for key, value in counts.items():
        yield from _above(key, value, MOST, 1000)
    yield from _above("seed", config.seed, LARGEST_SEED, 0)
    yield from _above("num_seeds", config.num_seeds, MOST_SEEDS, 3)
    yield from _above("num_threads", config.num_threads, MOST_THREADS, 1)
    yield from _above("lr_scaling.base_batch_size", config.lr_scaling.get("base_batch_size"), MOST, 128)
    if len(config.study.encode(errors="replace")) > BYTES_OF_A_NAME or set(config.study) <= {"."}:
        allowed = f"a name of at most {BYTES_OF_A_NAME} bytes, and not of dots alone; it names a folder"
        yield ConfigError("study", config.study[:40], allowed, "study=first-look")


def _above(key: str, value: Any, most: int, example: int) -> Iterator[ConfigError]:
    if isinstance(value, int | float) and not isinstance(value, bool) and value > most and value != float("inf"):
        yield ConfigError(key, value, f"at most {most:,}", f"{key}={example}")
