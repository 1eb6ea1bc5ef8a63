"""One job of a command: a configuration trained once per seed, shown and recorded."""

import statistics
from functools import lru_cache

from batchlab.build import Built, build
from batchlab.config import Config
from batchlab.objectives import parse_objective
from batchlab.record import Recorder, open_store, recorded_runs
from batchlab.report.comparison import comparison_rows, draw_table, time_spent, verdict
from batchlab.report.watch import Watch, make_console
from batchlab.run import RunResult, run


def train(config: Config, sweep_id: str) -> tuple[float, ...]:
    """Train a checked configuration with each of its seeds.

    Args:
        config: passed both gates.
        sweep_id: names the command that this job is part of.

    Returns:
        The objectives in their order, each averaged over seeds; NaN where a seed has no value.
    """
    open_store(config.mlruns, config.study)
    results = [train_seed(config, config.seed + index, sweep_id) for index in range(config.num_seeds)]
    names = [parse_objective(objective)[0] for objective in config.objectives]
    return tuple(statistics.fmean(result.finals[name] for result in results) for name in names)


def train_seed(config: Config, seed: int, sweep_id: str) -> RunResult:
    """One run: build, train, show, record."""
    built = build(config, seed)
    show_facts(built.dataset.facts)
    with Recorder(built, sweep_id) as recorder, Watch(make_console(), label(built)) as watch:
        training = run(built)
        while True:
            try:
                point = next(training)
            except StopIteration as stop:
                result: RunResult = stop.value
                break
            if point.is_due:
                recorder.point(point)
            watch.point(point)
        recorder.finish(result)
        watch.finish(result)
    return result


def label(built: Built) -> str:
    """What tells a run from the others of its command, for people."""
    return f"batch size {built.plan.batch_size}, lr {built.settings['lr']:.4g}, seed {built.seed}"


@lru_cache(maxsize=8)
def show_facts(facts: tuple[str, ...]) -> None:
    """Print what is worth knowing of a data set, once per process."""
    for fact in facts:
        make_console().print(fact)


def show_comparison(configs: list[Config], sweep_id: str) -> None:
    """Print the table of a command's runs, from what was recorded; nothing where no run was.

    Args:
        configs: the command's jobs.
        sweep_id: names the command.
    """
    runs = recorded_runs(configs[0], sweep_id)
    rows = comparison_rows(runs)
    if not rows:
        return
    console, num_runs = make_console(), sum(row.n for row in rows)
    studies = ", ".join(dict.fromkeys(config.study for config in configs))
    console.print(draw_table(rows, f"{studies}: {num_runs} run{'s' if num_runs > 1 else ''}"))
    if any(row.n > 1 for row in rows):
        console.print("± is the half width of a 95 % t interval over n seeds.")
    console.print(time_spent(runs))
    if said := verdict(rows):
        console.print(said)
    console.print(f"Recorded in {configs[0].mlruns}: `make ui` shows curves and every setting.")
