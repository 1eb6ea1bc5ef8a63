"""The optimistic end of a curve, on curves whose end is known."""

import math
import random

import pytest

from batchlab.config.objectives import TIMES
from batchlab.search.pruning import Curve, Front, is_dominated, least_error, optimistic_end

METRICS, DIRECTIONS = ("cost/train_seconds", "final/val_accuracy"), ("minimize", "maximize")


def power_law(start: float, rate: float, noise: float = 0.0, seed: int = 0, points: int = 10) -> Curve:
    """Errors start * (1 + 10 p)^-rate at p = .1, .2, ..., with noise on the log."""
    draw = random.Random(seed)
    progress = tuple((place + 1) / points for place in range(points))
    errors = [start * (1 + 10 * p) ** -rate * math.exp(draw.gauss(0, noise)) for p in progress]
    return Curve(progress, tuple(10 * p for p in progress), tuple(errors))


def cut(curve: Curve, count: int) -> Curve:
    return Curve(curve.progress[:count], curve.seconds[:count], curve.error[:count])


def known(count: int, noise: float = 0.02) -> list[Curve]:
    draw = random.Random(1)
    return [power_law(draw.uniform(0.3, 0.9), 0.8, noise, seed=place) for place in range(count)]


def test_the_end_of_a_lawful_curve_is_bounded_closely_from_below():
    curve = power_law(0.6, 0.8)
    bound = least_error(known(60), cut(curve, 5))
    assert bound is not None
    assert curve.error[-1] > bound
    assert bound == pytest.approx(curve.error[-1], rel=0.15)  # three times two per cent, and some


def test_noisier_curves_are_bounded_less_closely():
    part = cut(power_law(0.6, 0.8), 5)
    bounds = [least_error(known(60, noise), part) for noise in (0.02, 0.1, 0.3)]
    assert bounds == sorted(bounds, reverse=True)


def test_the_true_end_lies_beyond_the_bound_as_often_as_three_spreads_say():
    curves = [power_law(random.Random(place).uniform(0.3, 0.9), 0.8, 0.1, seed=place) for place in range(400)]
    bounds = [least_error(curves[:40], cut(curve, 5)) for curve in curves[40:]]
    beyond = sum(curve.error[-1] < bound for curve, bound in zip(curves[40:], bounds, strict=True) if bound)
    assert beyond <= 6  # 360 times .0013 to .004, t with 36 degrees of freedom


@pytest.mark.parametrize("curves", [[], known(9)])
def test_nothing_is_said_of_the_end_with_few_curves(curves):
    assert least_error(curves, cut(power_law(0.6, 0.8), 5)) is None


def test_curves_far_away_say_nothing():
    far = [power_law(0.01, 0.8, 0.02, seed=place) for place in range(40)]
    assert least_error(far, cut(power_law(0.9, 0.1), 5)) is None


def test_seconds_go_on_a_tenth_faster():
    for seconds in TIMES:
        assert optimistic_end(seconds, "minimize", [], cut(power_law(0.6, 0.8), 5)) == pytest.approx(5 + 0.9 * 5)


def test_a_curve_is_dominated_by_one_that_is_faster_and_better_than_its_best_end():
    curve, curves = cut(power_law(0.6, 0.8), 5), known(60)
    error = least_error(curves, curve)
    assert error is not None
    for seconds, worse, expected in ((9.0, -0.01, True), (9.0, 0.01, False), (9.6, -0.01, False)):
        for metric, direction, sign in (("final/val_accuracy", "maximize", -1), ("final/val_rmse", "minimize", 1)):
            metrics, directions = ("cost/train_seconds", metric), ("minimize", direction)
            end = (1 - error if sign < 0 else error) + sign * worse
            assert is_dominated(Front(metrics, directions, [(seconds, end)], curves), curve) == expected


def test_an_objective_without_a_bound_is_never_given_up():
    curves, metrics = known(60), ("cost/peak_memory_bytes", "final/val_accuracy")
    assert not is_dominated(Front(metrics, DIRECTIONS, [(0.0, 1.0)], curves), cut(power_law(0.6, 0.8), 5))


def test_a_curve_survives_its_attribute():
    curve = power_law(0.6, 0.8)
    assert Curve.of(curve.as_attribute()).error == curve.error


@pytest.mark.parametrize(
    ("metric", "direction"),
    [("final/val_loss", "minimize"), ("final/val_rmse", "maximize"), ("sharpness/lambda_max", "minimize")],
)
def test_what_has_no_best_value_has_no_bound(metric, direction):
    front = Front(("cost/train_seconds", metric), ("minimize", direction), [(0.0, -9.0), (0.0, 9.0)], known(60))
    assert not is_dominated(front, cut(power_law(0.6, 0.8), 5))
