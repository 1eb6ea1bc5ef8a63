import math

import numpy as np
import pytest
import torch

from batchlab.tasks.predictions import Predictions, class_metrics


def test_a_perfect_classifier_scores_one_everywhere():
    targets = torch.arange(30) % 3
    perfect = Predictions(torch.eye(3)[targets] * 5, targets, 0.0)
    assert perfect.accuracy == 1
    assert set(class_metrics(perfect).values()) == {1.0}


def test_two_classes_are_scored_for_class_one_against_pair_counting():
    rng = np.random.default_rng(0)
    targets, scores = rng.integers(0, 2, 200), rng.normal(size=200)
    scores[:50] = np.round(scores[:50])  # ties count half
    logits = torch.tensor(np.stack([np.zeros(200), scores], axis=1))
    found = class_metrics(Predictions(logits, torch.tensor(targets), 0.0))
    positive, negative = scores[targets == 1], scores[targets == 0]
    wins = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
    assert found["auroc"] == pytest.approx(wins)
    answers = scores > 0
    assert found["precision"] == pytest.approx((answers & (targets == 1)).sum() / answers.sum())
    assert found["recall"] == pytest.approx((answers & (targets == 1)).sum() / targets.sum())


def test_a_class_that_is_never_predicted_has_precision_zero():
    targets = torch.tensor([0, 0, 1, 1, 2, 2])
    logits = torch.tensor([[1.0, 0, 0]] * 6)
    assert class_metrics(Predictions(logits, targets, 0.0))["precision"] == pytest.approx((1 / 3) / 3)


def test_a_missing_class_and_infinite_logits_give_nan_not_zero():
    logits = torch.eye(3)[torch.tensor([0, 1, 0])]
    missing = class_metrics(Predictions(logits, torch.tensor([0, 1, 0]), 0.0))
    assert math.isnan(missing["auroc"])
    assert not math.isnan(missing["recall"])
    broken = class_metrics(Predictions(logits * math.inf, torch.tensor([0, 1, 0]), 0.0))
    assert all(math.isnan(value) for value in broken.values())


def test_regression_has_no_accuracy():
    predictions = Predictions(torch.zeros(4, 1), torch.zeros(4), 0.0)
    assert predictions.accuracy is None
    assert all(math.isnan(value) for value in class_metrics(predictions).values())
