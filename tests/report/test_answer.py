"""What is recommended, and what is said of how far it carries."""

import pytest

from batchlab.report.answer import answer_of
from batchlab.report.step_time_panel import step_points
from batchlab.report.study_data import Search
from batchlab.report.summary import limits_in_words


def test_a_grid_recommends_the_fastest_that_is_not_told_apart_from_the_best(grid):
    answer = answer_of(grid)
    assert [each.row.batch_size for each in answer.choices] == [128, 32, 512]
    assert [each.name for each in answer.choices] == ["recommended", "best score", "runner-up"]
    assert "batch size 32" in answer.reason
    assert "not told apart" in answer.reason
    assert answer.caveats == []


def test_one_seed_recommends_the_most_accurate_and_says_that_it_does_not_carry(make_run, make_study):
    answer = answer_of(make_study([make_run(32, 0.91, seconds=9.0), make_run(512, 0.90, seconds=1.0)]))
    assert answer.best.batch_size == 32
    assert "one seed does not carry" in answer.caveats[0]


def test_a_target_recommends_the_least_seconds_to_it_and_no_setting_that_missed_it(make_run, make_study):
    def to_target(size, seconds, seed):
        return make_run(size, 0.95, seed, **{"target/seconds": seconds, "target/examples": 100.0})

    runs = [to_target(size, each + 0.01 * seed, seed) for size, each in ((32, 3.0), (128, 1.0)) for seed in range(3)]
    missed = [to_target(512, seconds, seed) for seed, seconds in enumerate((0.1, 0.1, float("nan")))]
    answer = answer_of(make_study([*runs, *missed]))
    assert answer.best.batch_size == 128
    assert "1 did not reach the target with every seed" in answer.reason


def test_runners_up_are_other_batch_sizes(make_run, make_study):
    means = {(32, 0.1): 0.95, (32, 0.2): 0.94, (32, 0.3): 0.93, (64, 0.1): 0.85, (128, 0.1): 0.8}
    runs = [make_run(size, mean + 1e-4 * seed, seed, lr=lr) for (size, lr), mean in means.items() for seed in range(3)]
    answer = answer_of(make_study(runs))
    assert [each.row.batch_size for each in answer.choices] == [32, 64, 128]


def test_a_regression_is_judged_by_its_loss(make_run, make_study):
    runs = [make_run(32, float("nan"), seed, **{"final/val_loss": 0.2 + 0.01 * seed}) for seed in range(3)]
    runs += [make_run(64, float("nan"), seed, **{"final/val_loss": 0.9 + 0.01 * seed}) for seed in range(3)]
    answer = answer_of(make_study(runs))
    assert answer.best.batch_size == 32
    assert answer.reason.startswith("Lowest validation loss")


def search(picks):
    metrics = ["cost/train_seconds", "final/val_accuracy"]
    return Search(metrics, ["minimize", "maximize"], picks, {"complete": 3}, [])


def test_a_search_recommends_its_fastest_pick_by_its_fresh_seeds(make_run, make_study):
    trials = [make_run(32, 0.99, 0, trial=0), make_run(64, 0.98, 0, trial=1), make_run(128, 0.7, 0, trial=2)]
    fresh = [make_run(64, 0.90, seed, pick="fastest", trial=1) for seed in (1, 2, 3)]
    fresh += [make_run(32, 0.91, seed, pick="best_score", trial=0) for seed in (1, 2, 3)]
    answer = answer_of(make_study([*trials, *fresh], search({"best_score": 0, "fastest": 1, "knee": 1})))
    assert answer.best.score.value == pytest.approx(0.90)
    assert [each.name for each in answer.choices] == ["fastest and knee", "best score", "runner-up"]
    assert answer.caveats == []


def test_a_pick_without_fresh_seeds_does_not_carry(make_run, make_study):
    trials = [make_run(32, 0.99, 0, trial=0), make_run(64, 0.98, 0, trial=1)]
    answer = answer_of(make_study(trials, search({"best_score": 0})))
    assert "one seed does not carry" in answer.caveats[0]


def test_the_best_of_many_is_said_to_be_lucky(make_run, make_study):
    runs = [make_run(32, 0.9, seed, lr=0.01 * place) for place in range(1, 31) for seed in (0, 1)]
    assert "The best of 30 configurations" in answer_of(make_study(runs)).caveats[0]


def test_nothing_is_recommended_where_nothing_has_a_value(make_run, make_study):
    assert answer_of(make_study([make_run(32, outcome="diverged")])) is None


@pytest.mark.parametrize(("size", "word"), [(32, "overhead"), (512, "work")])
def test_what_limits_follows_from_the_share_of_overhead(grid, size, word):
    row = next(row for row in grid.rows if row.batch_size == size)
    assert limits_in_words(row, step_points(grid), None).startswith(word)
