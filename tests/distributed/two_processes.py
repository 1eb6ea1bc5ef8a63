"""A run of two processes, and the curve that a run gives."""

from batchlab.distributed import leader
from batchlab.run.training_run import run, run_to_end
from batchlab.training.build import build
from batchlab.training.evaluation import Evaluation

TWO = "num_processes=2"


def curve(config, seed=0):
    points = []
    with leader.shared(build(config, seed)) as built:
        result = run_to_end(run(built), points.append)
    evaluations = [each for each in points if isinstance(each, Evaluation)]
    return [(e.point.counts.drawn, e.point.train_loss, e.metrics.get("val/loss")) for e in evaluations], result
