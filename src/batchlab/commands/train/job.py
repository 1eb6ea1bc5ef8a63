"""Train one configuration with each of its seeds, show and record it; alone or as a trial of a search."""

import math
import statistics
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import lru_cache

from batchlab.config.identity import config_key, curve_key, environment, hash_of, settings_affecting
from batchlab.config.keys import Affects
from batchlab.config.schema import Config
from batchlab.distributed.leader import shared
from batchlab.profiling.calibration import counts_alone, step_seconds
from batchlab.profiling.memory_process import NothingFits
from batchlab.profiling.micro_batch import resolve_micro_batch
from batchlab.report.run_progress import RunProgress
from batchlab.run.training_run import RunResult, run, stopped_result
from batchlab.search.trial import SearchTrial, current_trial
from batchlab.system.device_memory import is_out_of_memory
from batchlab.system.host_lock import WORKERS, HostShare, host_shared
from batchlab.system.progress import make_console
from batchlab.system.signals import check_stop
from batchlab.system.torchrun_env import RanksFailed
from batchlab.tasks.objectives import is_measured, parse_objective
from batchlab.tracking.recorder import Recorder
from batchlab.training.build import Built, build_run, device_name, lock_names, pick_device, resolve
from batchlab.training.checkpoint import open_checkpointer
from batchlab.training.clock import Clock
from batchlab.training.evaluation import Evaluation
from batchlab.training.loop import LoopPoint
from batchlab.training.plan import ResolvedRun


def train(config: Config, sweep_id: str) -> tuple[float, ...]:
    """Train a checked configuration with each of its seeds; returns the objectives, see `objectives_of`.

    `sweep_id` names the command that this job is part of.
    """
    run, trial = resolve(config), current_trial()
    if trial is not None:
        return train_trial(run, sweep_id, trial)
    try:
        prepared = prepare(run)
        results = [train_seed(prepared, config.seed + index, sweep_id) for index in range(config.num_seeds)]
    except (RanksFailed, NothingFits) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    return objectives_of(run, results)


def objectives_of(run: ResolvedRun, results: list[RunResult]) -> tuple[float, ...]:
    """Return the objectives averaged over seeds; NaN where one has no value."""
    names = [parse_objective(objective, run.score)[0] for objective in run.config.objectives]
    return tuple(statistics.fmean(result.finals.get(name, math.nan) for result in results) for name in names)


def train_trial(run: ResolvedRun, sweep_id: str, trial: SearchTrial) -> tuple[float, ...]:
    """Train as a trial of a search: known points are not trained again, hopeless ones not to their end."""
    config = run.config
    trial.check_data(run.dataset.digest)
    nothing = (math.nan,) * len(config.objectives)
    if (known := trial.known(trial_identity(run))) is not None:
        make_console().print(f"trial {trial.number}: {trial.tried}: measured before, as trial {known.number}")
        trial.repeat(known)
        return tuple(known.result["values"] or nothing)
    results = []
    try:
        prepared = prepare(run)
        for index in range(config.num_seeds):
            result = train_seed(prepared, config.seed + index, sweep_id, trial)
            results.append(result)
            if result.outcome != "done":
                trial.finish(result.outcome, result.cause, [], costs_of(run, results))
                return nothing
    except NothingFits as error:
        trial.finish("out_of_memory", str(error), [], {})
        return nothing
    values = objectives_of(run, results)
    missing = [name for name, value in zip(config.objectives, values, strict=True) if not math.isfinite(value)]
    cause = f"no value for {', '.join(missing)}" if missing else ""
    trial.finish("no_value" if missing else "done", cause, list(values), costs_of(run, results))
    return values


def trial_identity(run: ResolvedRun) -> str:
    """Return a hash of what decides what a trial measures: configuration, seeds, data, commit, kind of host."""
    config, facts = run.config, environment()
    host = (device_name(pick_device(config.device)), facts["commit"], facts["dirty"])
    measured = [settings_affecting(config, Affects.MEASURES)] if is_measured(config.objectives) else []
    return hash_of([config_key(config), config.seed, config.num_seeds, run.dataset.digest, *host, *measured])


def costs_of(run: ResolvedRun, results: list[RunResult]) -> dict[str, float]:
    """Return what a trial keeps beside its objectives: step time, peak memory, and where it was stopped."""
    finals = [result.finals for result in results]
    seconds = statistics.fmean(each["cost/train_seconds"] for each in finals)
    costs = {
        "step_seconds": seconds / max(1.0, statistics.fmean(each["cost/num_steps"] for each in finals)),
        "peak_memory_bytes": max(each["cost/peak_memory_bytes"] for each in finals),
    }
    if results[-1].outcome != "done":
        name = f"val_{run.score.name}"
        costs |= {"last_train_seconds": seconds, f"last_{name}": finals[-1][f"final/{name}"]}
    return {name: value for name, value in costs.items() if math.isfinite(value)}


@dataclass(frozen=True)
class PreparedRun:
    """A run that any of its seeds can be trained of."""

    config: Config  # as it was asked for
    run: ResolvedRun  # with a number for micro_batch_size=auto
    # batch size -> seconds of a step measured alone; None = the clock measures
    step_seconds: Callable[[int], float] | None
    tags: dict[str, str]  # how much fits in memory, and where the step times are from


def prepare(run: ResolvedRun) -> PreparedRun:
    """Find what fits in memory and what steps take alone, where the configuration asks for it, and show it.

    Raises:
        NothingFits: where not even the smallest size fits.
    """
    choice, tags = resolve_micro_batch(run), dict[str, str]()
    step_times, said = step_seconds(choice.run) if counts_alone(run.config) else (None, "")
    show_facts(run.dataset.facts)
    if choice.found:
        show_facts((f"micro_batch_size=auto: {choice.found}",))
        tags |= {"micro_batch_size": f"auto: {choice.found}", "memory_probe": choice.record}
    if said:
        show_facts((said,))
        tags["step_times"] = said
    return PreparedRun(run.config, choice.run, step_times, tags)


def build_prepared(prepared: PreparedRun, seed: int) -> Built:
    """Build a run of a seed, its clock counting step times that were measured alone where there are any.

    Raises:
        NothingFits: where the memory does not even do for the model.
    """
    try:
        built = build_run(prepared.run, seed)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise NothingFits(f"out of memory before the first step: {str(error).splitlines()[0]}") from error
    return replace(built, clock=Clock(built.device, prepared.step_seconds)) if prepared.step_seconds else built


def train_seed(
    prepared: PreparedRun,
    seed: int,
    sweep_id: str,
    trial: SearchTrial | None = None,
    tags: dict[str, str] | None = None,
) -> RunResult:
    """Build, train, show and record one run; a trial may stop it."""
    check_stop()  # a signal that came while the run before was written
    built = build_prepared(prepared, seed)
    tags = (tags or {}) | prepared.tags
    name = f"batch size {built.plan.batch_size}, lr {built.settings['lr']:.4g}, seed {seed}"
    if trial is not None:
        tags |= {"optuna.study": trial.study_name, "optuna.trial_number": str(trial.number)}
        name = f"trial {trial.number}: {trial.tried}, seed {seed}"
    console, owner = make_console(), trial.study_name if trial else ""
    with open_checkpointer(built, lambda text: console.print(f"{name}: {text}", soft_wrap=True), owner) as checkpointer:
        if checkpointer is not None and checkpointer.resumed_from is not None:
            tags |= {"resumed_from_step": str(checkpointer.resumed_from)}
        with (
            host_shared(lock_names(built.device, built.config.num_processes)) as host_share,
            Recorder(built, sweep_id, tags) as recorder,
            RunProgress(console, name, built.score) as watch,
            shared(built) as together,
        ):
            if trial is not None:
                resumed_from = checkpointer.resumed_from if checkpointer else None
                trial.begin_run(recorder.run_id, curve_key(prepared.config), resumed_from)
            training = run(together, with_test=trial is None, checkpointer=checkpointer)
            result = run_recorded(built, training, host_share, recorder, watch, trial)
        if checkpointer is not None and result.outcome != "stopped":
            checkpointer.remove()
    for metric, reason in result.missing.items():
        make_console().print(f"{metric} could not be measured: {reason}")
    return result


def run_recorded(
    built: Built,
    training: Generator[LoopPoint | Evaluation, None, RunResult],
    host_share: HostShare,
    recorder: Recorder,
    watch: RunProgress,
    trial: SearchTrial | None,
) -> RunResult:
    """Drive a run to its end, or to where its trial stops it; every point is recorded and shown."""
    num_at_first = host_share.num_here()
    while True:
        check_stop()
        try:
            point = next(training)
        except StopIteration as stop:
            result, record = stop.value, recorder.finish
            break
        if isinstance(point, Evaluation):
            recorder.evaluation(point)
        watch.show(point)
        host_share.give_way()
        if trial is not None and (reason := trial.why_stop(point)):
            training.close()
            result, record = stopped_result(built, point, reason), recorder.stop
            break
    result.finals[WORKERS] = max(num_at_first, host_share.num_here())
    record(result)
    watch.finish(result)
    return result


@lru_cache(maxsize=8)
def show_facts(facts: tuple[str, ...]) -> None:
    """Print what is worth knowing of a data set, or of its memory, once per process."""
    for fact in facts:
        make_console().print(fact, soft_wrap=True)
