"""Runs judged by another metric than accuracy."""

import numpy as np
import pandas as pd
import pytest
import torch

from batchlab.run.target import reached, target_metrics
from batchlab.run.training_run import run, run_to_end
from batchlab.training.build import build
from batchlab.training.evaluation import Evaluation
from batchlab.training.loop import LoopPoint
from batchlab.training.plan import Counts


@pytest.fixture
def prices(tmp_path):
    """Overrides: a table of 300 prices near 250,000."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(300, 3)), columns=list("abc"))
    frame["price"] = 250_000 + 40_000 * frame["a"] - 10_000 * frame["b"] + 2_000 * rng.normal(size=300)
    frame.to_csv(tmp_path / "house.csv", index=False)
    table = f"data.path={tmp_path / 'house.csv'}"
    return ["data=table", table, "data.target=price", "loss=squared_error", "measure=none", "num_threads=1"]


def test_regression_learns_standardised_targets_and_is_measured_in_their_own_unit(config_of, prices):
    built = build(config_of(*prices, "epochs=20", "batch_size=32"), seed=0)
    result = run_to_end(run(built))
    test, own = built.dataset.test, built.dataset
    with torch.no_grad():
        answers = built.train_step.model.eval()(test.inputs).squeeze(1) * own.target_std + own.target_mean
    wrong = answers - (test.targets * own.target_std + own.target_mean)
    assert result.finals["final/test_rmse"] == pytest.approx(wrong.square().mean().sqrt().item(), rel=1e-4)
    assert result.finals["final/test_mae"] == pytest.approx(wrong.abs().mean().item(), rel=1e-4)
    assert result.finals["final/val_rmse"] < 10_000 < own.target_std
    assert 240_000 < own.target_mean < 260_000
    assert "final/val_accuracy" not in result.finals


def test_a_run_stops_at_an_error_as_it_does_at_an_accuracy(config_of, prices):
    target = ["budget=target", "budget.score=5000", "budget.max_epochs=40", "eval.every_examples=210", "batch_size=32"]
    evaluations = []
    result = run_to_end(run(build(config_of(*prices, *target), seed=0)), evaluations.append)
    scores = [each.score for each in evaluations if isinstance(each, Evaluation)]
    assert max(scores[-2:]) <= 5_000 < scores[0]
    assert 0 < result.finals["target/epochs"] < 40


def test_every_metric_of_val_is_measured_on_test(config_of):
    finals = run_to_end(run(build(config_of("epochs=1", "measure=none"), seed=0))).finals
    names = {split: {key[len(f"final/{split}_") :] for key in finals if key.startswith(f"final/{split}_")}
             for split in ("val", "test")}  # fmt: skip
    assert names["val"] == names["test"] > {"accuracy", "f1", "balanced_accuracy", "auroc", "loss"}


def test_a_typed_score_has_the_curves(config_of):
    seen = []
    run_to_end(run(build(config_of("epochs=1", "measure=none", "score=f1"), seed=0)), seen.append)
    (last,) = [each for each in seen if isinstance(each, Evaluation)]
    assert {"val/loss", "val/f1", "val/accuracy", "train/f1"} <= set(last.metrics)
    assert last.score == last.metrics["val/f1"]


def points(*scores):
    """Evaluations at 1, 2, ... epochs of 10 steps."""
    for place, score in enumerate(scores, start=1):
        counts = Counts(10 * place, 10 * place, 10 * place, float(place))
        yield Evaluation(
            LoopPoint(counts, float(place), 0.1, 1, 0.1, 0.5, is_due=True, is_last=False), {}, False, score
        )


@pytest.mark.parametrize(
    ("sign", "scores", "target"), [(1, (0.5, 0.7, 0.9, 0.9), 0.8), (-1, (9.0, 7.0, 5.0, 5.0), 6.0)]
)
def test_a_target_is_interpolated_whichever_way_is_better(sign, scores, target):
    assert target_metrics([*points(*scores)], target, sign)["target/epochs"] == pytest.approx(2.5)
    assert not reached(scores[:3], target, sign)
    assert not reached([None, scores[-1]], target, sign)
