"""Runs of an experiment: which are known, which are missing, and its arms once they are there."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

import numpy as np

from batchlab.config.identity import by_name, config_key, hash_of
from batchlab.config.instantiate import bound
from batchlab.config.schema import Config
from batchlab.experiments.arm_results import CURVES, Arm, Curve, MeasuredRun
from batchlab.experiments.arms import CLOCK, is_possible, probe_of
from batchlab.experiments.experiment import Experiment
from batchlab.tracking.finished_runs import record_probe
from batchlab.tracking.study_reader import RecordedRun, curves_of, study_runs
from batchlab.training.build import device_name, pick_device
from batchlab.training.data_loading import load_dataset

READ = (*CURVES, "progress/epochs", "progress/examples", "progress/train_seconds")
USABLE = ("done", "diverged", "out_of_memory")


@dataclass(frozen=True)
class ArmRun:
    """One run that a claim needs."""

    experiment: str  # whose
    config: Config  # what to train or probe
    seed: int  # of it
    probe: Mapping[str, Any] | None  # node of what measures it, or None to train it
    is_alone: bool  # whether nothing else may run meanwhile

    @property
    def key(self) -> tuple[str, int]:
        """Return the configuration key of the run, or of the probe, and its seed."""
        return identity(self.config, self.probe), self.seed


Known = Mapping[tuple[str, int], RecordedRun]


def identity(config: Config, probe: Mapping[str, Any] | None) -> str:
    """Return the configuration key of a run, or hash what a probe measures of it: 12 hexadecimal digits."""
    if not probe:
        return config_key(config)
    return hash_of([config_key(config), {key: by_name(key, value) for key, value in probe.items()}])


def runs_needed(experiment: Experiment, num_seeds: int) -> list[ArmRun]:
    """List every run that an experiment needs at so many seeds, in the order of seeds."""
    return [
        ArmRun(experiment.name, config, config.seed + index, probe, experiment.is_alone and probe is not None)
        for index in range(num_seeds)
        for name, configs in experiment.arms.items()
        for probe in [probe_of(experiment.probe, experiment.arms, name)]
        for config in configs
        if is_possible(config.device)
    ]


def known_runs(mlruns: str, studies: Iterable[str], sweep_id: str | None = None) -> Known:
    """Return the first run of each configuration and seed that was measured on this kind of host (by one command)."""
    cpu, gpu = (device_name(pick_device(name)) for name in ("cpu", "auto"))
    known: dict[tuple[str, int], RecordedRun] = {}
    for run in (run for study in sorted(set(studies)) for run in study_runs(mlruns, study, ("run", "probe"))):
        tags = run["tags"]
        is_here = f"cpu: {tags.get('cpu')}" == cpu and tags.get("device", cpu) in (cpu, gpu)
        is_usable = run["info"]["status"] == "FINISHED" and tags.get("outcome") in USABLE and is_here
        if is_usable and sweep_id in (None, tags.get("sweep_id")):
            known.setdefault((tags["config_key"], int(run["params"]["seed"])), run)
    return known


def is_known(task: ArmRun, known: Known) -> bool:
    """Check whether a task was measured before, on the data of today."""
    run = known.get(task.key)
    return run is not None and run["tags"]["data_digest"] == _digest(json.dumps(task.config.data))


@lru_cache(maxsize=100)
def _digest(data: str) -> str:
    """Of the data set of a node; reading it takes a second, and claims change between a few."""
    return load_dataset(json.loads(data)).digest


def arms_of(experiment: Experiment, num_seeds: int, known: Known) -> dict[str, Arm]:
    """Return the experiment's arms with as many seeds as all that were run have, at most `num_seeds`.

    An arm has no seed where it was not run, or where this machine lacks its device.
    """
    rows = {
        name: [_row(config, probe_of(experiment.probe, experiment.arms, name), num_seeds, known) for config in configs]
        for name, configs in experiment.arms.items()
    }
    possible = [row for name in rows if is_possible(experiment.arms[name][0].device) for row in rows[name]]
    n = min((len(row) for row in possible if row), default=0)
    clocks = [run["metrics"] for run in rows[CLOCK][0][:n]] if CLOCK in rows else []
    mlruns = next(iter(experiment.arms.values()))[0].mlruns

    def with_clock(row: list[RecordedRun]) -> list[MeasuredRun]:
        return [_measured(run, mlruns, clocks[i] if clocks else {}) for i, run in enumerate(row[:n])]

    return {name: Arm(name, [with_clock(row) for row in settings]) for name, settings in rows.items()}


def _row(config: Config, probe: Mapping[str, Any] | None, num_seeds: int, known: Known) -> list[RecordedRun]:
    """The setting's runs, in the order of seeds, up to the first that is missing."""
    key, row = identity(config, probe), list[RecordedRun]()
    while len(row) < num_seeds and (run := known.get((key, config.seed + len(row)))) is not None:
        row.append(run)
    return row


def _measured(run: RecordedRun, mlruns: str, clock: Mapping[str, float]) -> MeasuredRun:
    finals, params = dict(run["metrics"]), run["params"]
    step_seconds = clock.get(f"step_seconds/{params['batch_size']}")
    if step_seconds is not None:
        finals["clock/step_seconds"] = step_seconds
    return MeasuredRun(
        params=params,
        finals=finals,
        outcome=run["tags"]["outcome"],
        curve=partial(_curve, mlruns, run["info"]["id"]),
        commit=run["tags"]["commit"],
        started=datetime.fromtimestamp(run["info"]["began"] / 1000, UTC).date().isoformat(),
    )


@lru_cache(maxsize=10_000)
def _curve(mlruns: str, run_id: str) -> Curve:
    """The evaluations that have every curve, by metric; ``steps`` has the optimizer steps."""
    found = curves_of(mlruns, [run_id], READ)
    columns = {metric: points for (_, metric), points in found.items()}
    steps = sorted(set.intersection(*map(set, columns.values()))) if columns else []
    values = {metric: np.array([points[step] for step in steps]) for metric, points in columns.items()}
    return {"steps": np.array(steps, dtype=np.float64)} | values


def probe_seed(config: Config, probe: Mapping[str, Any], seed: int, sweep_id: str) -> dict[str, float]:
    """Measure once and record it; `probe` is the node of a function (config, seed, **settings) -> metric -> value."""
    finals = bound(dict(probe))(config, seed)
    tags = {"config_key": identity(config, probe), "data_digest": load_dataset(config.data).digest}
    record_probe(config, seed, tags, finals, sweep_id)
    return finals


def probe_seeds(config: Config, probe: Mapping[str, Any], sweep_id: str) -> None:
    """Measure a configuration with each of its seeds."""
    for index in range(config.num_seeds):
        probe_seed(config, probe, config.seed + index, sweep_id)
