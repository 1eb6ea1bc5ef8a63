"""`batchlab claims`: measures what published claims need, look by look, judges, shows and writes."""

import json
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count
from uuid import uuid4

from rich.progress import MofNCompleteColumn, TimeElapsedColumn

from batchlab.commands.claims.task_pool import run_tasks
from batchlab.commands.command_line import Request, composing, stop
from batchlab.config.command_keys import Claims
from batchlab.config.installation import IS_CLONE, REPOSITORY, program
from batchlab.config.registration import register_schema
from batchlab.config.schema import Config
from batchlab.errors import ConfigError, ConfigErrors, nearest
from batchlab.experiments.arm_runs import ArmRun, Known, arms_of, is_known, known_runs, runs_needed
from batchlab.experiments.arms import is_possible
from batchlab.experiments.claims_page import records_of, write_page
from batchlab.experiments.claims_table import draw_claims, renew_tables, summary
from batchlab.experiments.experiment import (
    Experiment,
    compose_experiment,
    experiment_names,
    possible_configs,
    presets_of,
)
from batchlab.experiments.verdict import LOOKS, OPEN, Outcome, judge_experiment
from batchlab.system.progress import Bar, make_console
from batchlab.tracking.mlflow_store import open_store
from batchlab.validation.dry_run import check_data

FEW = 4
"""So many are composed here, at a second each; more of them in processes, which take two seconds to begin."""
SECONDS_BETWEEN_LINES = 30.0


def check_names(keys: Claims, _configs: list[Config]) -> Iterator[ConfigError]:
    """Find names that are no experiments, or stand there twice."""
    known = experiment_names()
    if not isinstance(keys.names, list):
        yield ConfigError("names", keys.names, "a list, or words without names=", f"{program('claims')} {keys.names}")
        return
    for name in [name for name in keys.names if name not in known]:
        close = nearest(str(name), known)
        yield ConfigError("names", name, f"one of {', '.join(known)}", f"{program('claims')} {close or known[0]}")
    for name in sorted({name for name in keys.names if keys.names.count(name) > 1}):
        yield ConfigError("names", name, "each experiment once: Holm counts them", f"{program('claims')} {name}")


CHECKS = (check_names,)


def compose_all(keys: Claims, overrides: list[str]) -> list[Experiment]:
    """Compose the experiments that are asked for; those without the preset are left out of it.

    Raises:
        ConfigErrors: with every error of gate 1.
    """
    names = [name for name in keys.names or experiment_names() if keys.preset in presets_of(name)]
    one = partial(_composed, overrides=overrides, preset=keys.preset)
    if len(names) <= FEW:
        return [one(name) for name in names]
    spawn, deaf = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is ours to heed
    with ProcessPoolExecutor(mp_context=spawn, initializer=signal.signal, initargs=deaf) as pool:
        return list(pool.map(one, names))


def _composed(name: str, overrides: list[str], preset: str) -> Experiment:
    register_schema()
    with composing():
        return compose_experiment(name, overrides, preset)


def run(request: Request) -> int:
    """Run, judge, show and write; returns the exit code."""
    keys, mlruns = request.keys, request.configs[0].mlruns
    try:
        experiments = compose_all(keys, list(request.overrides))
    except ConfigErrors as error:
        stop(list(error.errors))
    measurement = Measurement(experiments, mlruns, keys)
    try:
        outcomes = measurement.through_looks()
    except KeyboardInterrupt:
        print("Stopped; what was measured is recorded, the same command goes on.", file=sys.stderr)
        return 130
    if keys.output == "json":
        print(json.dumps(records_of(outcomes), indent=1))
    else:
        make_console().print(draw_claims(outcomes))
        make_console().print(summary(outcomes, measurement.failures))
    if keys.write and not keys.names and keys.preset == "small":
        page = write_page(outcomes, measurement.failures)
        renewed = renew_tables(REPOSITORY, records_of(outcomes)) if IS_CLONE else []
        make_console().print(f"Written to {' and, its table in short, to '.join(map(str, [page, *renewed]))}")
    return 1 if measurement.failures else 0


class Measurement:
    """Runs what is missing until every claim is decided, or has as many seeds as it may."""

    def __init__(self, experiments: Sequence[Experiment], mlruns: str, keys: Claims) -> None:
        self._experiments, self._mlruns, self._keys = experiments, mlruns, keys
        self._deadline = time.monotonic() + 60 * keys.budget_minutes
        self._sweep_id, self._is_checked = uuid4().hex[:12], set[str]()
        self.failures: dict[str, str] = {}

    def through_looks(self) -> list[Outcome]:
        """Look at 3, 6, 12 and 24 seeds; a claim that is decided gets no more."""
        known, outcomes = self._known(), dict[str, Outcome]()
        for look in LOOKS:
            wanted = [each for each in self._experiments if self._is_wanted(each, outcomes, look)]
            tasks = [task for each in wanted for task in runs_needed(each, look) if not is_known(task, known)]
            unique = list({task.key: task for task in reversed(tasks)}.values())[::-1]  # of the first claim that asks
            if unique and look <= self._keys.max_seeds:
                self._check([each for each in wanted if any(task.experiment == each.name for task in unique)])
                self._run(unique, look)
                known = self._known()
            for each in wanted:
                self._judge(each, look, known, outcomes)
        return [outcomes[each.name] for each in self._experiments]

    def _is_wanted(self, experiment: Experiment, outcomes: dict[str, Outcome], look: int) -> bool:
        before = outcomes.get(experiment.name)
        if before is None:
            return True
        is_open = before.conclusion == OPEN and before.can_be_decided
        return is_open and look <= experiment.max_seeds and experiment.name not in self.failures

    def _judge(self, experiment: Experiment, look: int, known: Known, outcomes: dict[str, Outcome]) -> None:
        """Judge at a look; one that is not complete, because the time was over, changes nothing that was known."""
        arms = arms_of(experiment, look, known)
        found = judge_experiment(experiment, arms)
        if experiment.name not in outcomes or found.n == look:
            outcomes[experiment.name] = found

    def _known(self) -> Known:
        """Read what is recorded under any claim: they share runs."""
        typed = {each.study for experiment in self._experiments for each in possible_configs(experiment)[:1]}
        return known_runs(self._mlruns, typed | {f"experiment-{name}" for name in experiment_names()})

    def _check(self, experiments: Sequence[Experiment]) -> None:
        """Check the first configuration of each arm by gate 2, once, before its first run."""
        new = [each for each in experiments if each.name not in self._is_checked]
        firsts = [arm[0] for each in new for arm in each.arms.values() if is_possible(arm[0].device)]
        errors = [error for config in firsts for error in check_data(config)]
        if errors:
            stop(errors)
        self._is_checked |= {each.name for each in new}

    def _run(self, tasks: list[ArmRun], look: int) -> None:
        for study in {task.config.study for task in tasks}:
            open_store(self._mlruns, study)
        what, columns, done = f"look at n = {look}", (MofNCompleteColumn(), TimeElapsedColumn()), count(1)
        with Bar(make_console(), what, len(tasks), columns) as bar:

            def show(task: ArmRun, error: str) -> None:
                bar.update(completed=(num := next(done)), description=f"{what}: {task.experiment}")
                if error:
                    self.failures[task.experiment] = error
                if bar.is_line_due(SECONDS_BETWEEN_LINES):
                    print(f"{what}: {num} of {len(tasks)} runs, {task.experiment}", file=sys.stderr)

            run_tasks(tasks, self._keys.num_workers, self._deadline, self._sweep_id, show)
