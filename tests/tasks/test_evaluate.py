import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from batchlab.tasks.classification import CLASSIFICATION
from batchlab.tasks.evaluate import Tally, chance_level
from batchlab.tasks.known_tasks import score_for, task_for
from batchlab.tasks.regression import MINIMIZATION, REGRESSION


def measured(task, outputs, targets, num_classes=None, unit=1.0, parts=3):
    """Metrics of a split that comes in parts."""
    tally = Tally(task.metrics, num_classes, unit)
    for part in torch.arange(len(targets)).tensor_split(parts):
        tally.update(outputs[part], targets[part])
    return tally.compute()


def test_a_perfect_classifier_scores_one_everywhere():
    targets = torch.arange(30) % 3
    assert set(measured(CLASSIFICATION, torch.eye(3)[targets] * 5, targets, 3).values()) == {1.0}


@pytest.mark.parametrize("num_classes", [2, 5])
def test_metrics_in_parts_are_those_of_scikit_learn_on_the_whole(num_classes):
    rng = np.random.default_rng(0)
    targets, logits = rng.integers(0, num_classes, 300), rng.normal(size=(300, num_classes))
    logits[np.arange(300), targets] += 0.7
    found = measured(CLASSIFICATION, torch.tensor(logits), torch.tensor(targets), num_classes)
    answers, average = logits.argmax(1), "binary" if num_classes == 2 else "macro"
    shares = torch.tensor(logits).softmax(1).numpy()
    one = (targets, shares[:, 1]) if num_classes == 2 else (np.eye(num_classes)[targets], shares)
    assert found == pytest.approx(
        {
            "accuracy": sk.accuracy_score(targets, answers),
            "balanced_accuracy": sk.balanced_accuracy_score(targets, answers),
            "f1": sk.f1_score(targets, answers, average=average),
            "precision": sk.precision_score(targets, answers, average=average),
            "recall": sk.recall_score(targets, answers, average=average),
            "auroc": sk.roc_auc_score(*one),
            "auprc": sk.average_precision_score(*one),
        }
    )


def test_regression_is_measured_in_the_targets_own_unit():
    rng = np.random.default_rng(1)
    targets, outputs = rng.normal(size=200), rng.normal(size=200)
    found = measured(REGRESSION, torch.tensor(outputs).view(-1, 1), torch.tensor(targets).float(), unit=1000.0)
    assert found["rmse"] == pytest.approx(1000 * sk.root_mean_squared_error(targets, outputs))
    assert found["mae"] == pytest.approx(1000 * sk.mean_absolute_error(targets, outputs))
    assert found["r2"] == pytest.approx(sk.r2_score(targets, outputs))


def test_a_class_that_is_never_predicted_has_precision_zero():
    targets = torch.tensor([0, 0, 1, 1, 2, 2])
    found = measured(CLASSIFICATION, torch.tensor([[1.0, 0, 0]] * 6), targets, 3)
    assert found["precision"] == pytest.approx((1 / 3) / 3)


def test_a_missing_class_and_infinite_outputs_give_nan_not_zero():
    logits, targets = torch.eye(3)[torch.tensor([0, 1, 0])], torch.tensor([0, 1, 0])
    missing = measured(CLASSIFICATION, logits, targets, 3)
    assert math.isnan(missing["auroc"])
    assert not math.isnan(missing["recall"])
    assert all(math.isnan(value) for value in measured(CLASSIFICATION, logits * math.inf, targets, 3).values())


def test_r2_is_not_known_of_one_value():
    found = measured(REGRESSION, torch.ones(3), torch.ones(3))
    assert math.isnan(found["r2"])
    assert found["rmse"] == 0.0
    assert math.isnan(measured(REGRESSION, torch.ones(1), torch.zeros(1), parts=1)["r2"])


def test_of_several_processes_one_measures_alone(tmp_path, monkeypatch):
    """Torchmetrics would wait for the others."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    for name in ("barrier", "all_gather"):
        monkeypatch.setattr(torch.distributed, name, lambda *_, **__: pytest.fail("waits for other processes"))
    try:
        assert measured(CLASSIFICATION, torch.eye(3), torch.arange(3), 3)["accuracy"] == 1.0
        assert measured(REGRESSION, torch.arange(3.0), torch.arange(3.0))["rmse"] == 0.0
    finally:
        torch.distributed.destroy_process_group()


def test_chance_is_what_a_constant_answer_reaches():
    targets = torch.tensor([0] * 9 + [1])
    accuracy, f1 = CLASSIFICATION.score, CLASSIFICATION.find("f1")
    assert chance_level(accuracy, targets, targets, 2) == pytest.approx(0.9)
    assert chance_level(f1, targets, targets, 2) == pytest.approx(2 * 0.1 / 1.1)  # of always answering class 1
    values = torch.tensor([1.0, 3.0])
    assert chance_level(REGRESSION.score, values, values, None, unit=10.0) == pytest.approx(10.0)
    skewed = torch.tensor([0.0, 0.0, 9.0])
    assert chance_level(REGRESSION.find("mae"), skewed, skewed, None) == pytest.approx(3.0)  # of the median


def test_the_score_is_the_typed_metric_else_an_objective_else_the_tasks_own():
    assert score_for(CLASSIFICATION, None, ["cost/train_seconds", "score"]).name == "accuracy"
    assert score_for(CLASSIFICATION, None, ["cost/train_seconds", "final/val_auprc"]).name == "auprc"
    assert score_for(CLASSIFICATION, "f1", ["final/val_auprc"]).name == "f1"
    assert score_for(task_for("any", None), None, []).name == "rmse"
    assert task_for("minimization", None) is MINIMIZATION
    assert task_for("contrastive", 3).score.name == "accuracy"
