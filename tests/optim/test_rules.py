import math

import pytest

from batchlab.errors import ConfigErrors
from batchlab.optim import batch_schedule, lr_schedule
from batchlab.optim.lr_scaling import adam_sqrt, linear, noise, none, sqrt

SGD = {"lr": 0.1, "weight_decay": 1e-4}
ADAM = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}


def test_linear_and_square_root_follow_kappa():
    assert linear(SGD, 512, base_batch_size=128, scale_weight_decay=False) == {"lr": 0.4, "weight_decay": 1e-4}
    assert sqrt(SGD, 512, base_batch_size=128, scale_weight_decay=True) == {"lr": 0.2, "weight_decay": 2e-4}
    assert none(SGD, 4096) == SGD


def test_every_rule_leaves_the_base_batch_size_alone():
    for rule in (linear, sqrt, adam_sqrt):
        assert rule(ADAM, 128, base_batch_size=128, scale_weight_decay=False)["lr"] == ADAM["lr"]
    scaled = noise(SGD, 128, base_batch_size=128, noise_scale=900, exponent=0.7, scale_weight_decay=False)
    assert scaled["lr"] == pytest.approx(0.1)


def test_the_noise_rule_is_linear_below_the_noise_scale_and_flat_above():
    def lr(batch_size, exponent=1.0):
        settings = {"base_batch_size": 16, "noise_scale": 1e4, "exponent": exponent, "scale_weight_decay": False}
        return noise(SGD, batch_size, **settings)["lr"]

    slope = math.log(lr(32) / lr(16)) / math.log(2)
    assert slope == pytest.approx(1, abs=0.01)
    assert math.log(lr(32, 0.5) / lr(16, 0.5)) / math.log(2) == pytest.approx(0.5, abs=0.01)
    assert lr(10**8) / lr(10**7) == pytest.approx(1, abs=1e-3)


def test_adams_rule_moves_betas_and_eps_too():
    scaled = adam_sqrt(ADAM, 512, base_batch_size=128, scale_weight_decay=False)
    assert scaled["lr"] == pytest.approx(2e-3)
    assert scaled["betas"] == pytest.approx((0.6, 0.996))
    assert scaled["eps"] == pytest.approx(0.5e-8)


def test_adams_rule_names_the_largest_batch_size_that_works():
    adam_sqrt(ADAM, 640, base_batch_size=128, scale_weight_decay=False)
    with pytest.raises(ConfigErrors, match=r"batch_size=641.*is 640"):
        adam_sqrt(ADAM, 641, base_batch_size=128, scale_weight_decay=False)


def test_rmsprop_moves_its_alpha_and_sgd_is_refused():
    rmsprop = {"lr": 1e-3, "alpha": 0.99, "eps": 1e-8}
    assert adam_sqrt(rmsprop, 256, base_batch_size=128, scale_weight_decay=False)["alpha"] == pytest.approx(0.98)
    with pytest.raises(ConfigErrors, match="lr_scaling=linear"):
        adam_sqrt(SGD, 256, base_batch_size=128, scale_weight_decay=False)


def test_scaling_a_weight_decay_that_is_not_there_is_refused():
    with pytest.raises(ConfigErrors, match="scale_weight_decay"):
        linear({"lr": 0.1}, 256, base_batch_size=128, scale_weight_decay=True)


@pytest.mark.parametrize(
    ("schedule", "settings", "values"),
    [
        (lr_schedule.constant, {}, {0: 1, 0.5: 1, 1: 1}),
        (lr_schedule.step, {"milestones": [0.5, 0.75], "factor": 0.1}, {0: 1, 0.49: 1, 0.5: 0.1, 0.75: 0.01, 1: 0.01}),
        (lr_schedule.cosine, {"final": 0.2}, {0: 1, 0.5: 0.6, 1: 0.2}),
        (lr_schedule.linear, {"final": 0.0}, {0: 1, 0.25: 0.75, 1: 0}),
        (lr_schedule.wsd, {"decay": 0.2, "final": 0.0}, {0: 1, 0.8: 1, 0.9: 0.5, 1: 0}),
    ],
)
def test_schedules_take_their_closed_forms(schedule, settings, values):
    for progress, value in values.items():
        assert schedule(progress, **settings) == pytest.approx(value)


def test_warm_up_climbs_in_a_straight_line():
    assert [lr_schedule.warm_up(p, 0.2, 0.1) for p in (0, 0.1, 0.2, 1)] == pytest.approx([0.1, 0.55, 1, 1])
    assert lr_schedule.warm_up(0.0, 0.0, 0.1) == 1


@pytest.mark.parametrize(
    ("decay", "batch_size", "factor"), [(1, 100, 1), (0.5, 200, 1), (0.1, 400, 0.4), (0.0, 400, 0)]
)
def test_growth_stops_at_the_maximum_and_then_the_rate_decays(decay, batch_size, factor):
    assert batch_schedule.grow(100, decay, 5000, max_batch_size=400) == pytest.approx((batch_size, factor))


def test_growth_stops_at_a_tenth_of_the_training_split_by_default():
    assert batch_schedule.grow(100, 0.01, 5000, max_batch_size=None)[0] == 500
    assert batch_schedule.grow(1000, 0.01, 5000, max_batch_size=None) == pytest.approx((1000, 0.01))
