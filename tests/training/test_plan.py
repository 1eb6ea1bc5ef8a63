import pytest

from batchlab.training.plan import Counts, Plan, make_plan, part_sizes


@pytest.mark.parametrize(
    ("batch_size", "micro", "sizes"),
    [
        (512, 128, [128] * 4),
        (127, 32, [32, 32, 32, 31]),
        (10, 4, [4, 3, 3]),
        (1, None, [1]),
        (7, 100, [7]),
        (5, 1, [1] * 5),
    ],
)
def test_parts_are_near_equal_and_sum_to_the_batch(batch_size, micro, sizes):
    assert part_sizes(batch_size, micro) == sizes


@pytest.mark.parametrize("batch_size", [1, 7, 100, 127, 1257])
@pytest.mark.parametrize("micro", [1, 2, 13, 128])
def test_no_part_exceeds_the_maximum_and_sizes_differ_by_at_most_one(batch_size, micro):
    sizes = part_sizes(batch_size, micro)
    assert sum(sizes) == batch_size
    assert max(sizes) <= micro
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("overrides", "limit", "counted"),
    [
        (["epochs=3", "batch_size=128"], 29 * 128, "drawn"),  # round(3 * 1257 / 128)
        (["epochs=0.01", "batch_size=1257"], 1257, "drawn"),
        (["epochs=2", "batch_size=full"], 2 * 1257, "drawn"),
        (["budget=steps", "budget.num_steps=7"], 7, "steps"),
        (["budget=examples", "budget.num_examples=1000", "batch_size=64"], 16 * 64, "processed"),
        (["budget=seconds", "budget.seconds=2"], 2.0, "seconds"),
        (["budget=target", "budget.max_epochs=3", "batch_size=128"], 29 * 128, "drawn"),
    ],
)
def test_every_budget_becomes_whole_steps(config_of, overrides, limit, counted):
    plan = make_plan(config_of(*overrides), num_train=1257)
    assert (plan.limit, plan.counted) == (limit, counted)


def test_progress_in_epochs_is_steps_done_over_steps_planned(config_of):
    plan = make_plan(config_of("epochs=3", "batch_size=100"), num_train=1257)
    for steps in range(39):
        assert plan.progress(Counts(steps, drawn=100 * steps)) == steps / 38  # round(3 * 1257 / 100)


def test_a_budget_of_seconds_follows_the_clock():
    plan = Plan(32, None, 100, "seconds", 4.0, 100)
    assert plan.progress(Counts(steps=1000, seconds=1.0)) == 0.25
