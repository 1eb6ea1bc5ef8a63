"""Which runs of a study count, and how they are grouped."""

import math

from batchlab.report.study_data import best_by_size, counted, labelled, num_train


def test_a_repeated_seed_is_no_second_one(make_run):
    runs, left_out = counted([make_run(32, 0.5, seed=0), make_run(32, 0.9, seed=0), make_run(32, 0.8, seed=1)])
    assert [run["metrics"]["final/val_accuracy"] for run in runs] == [0.9, 0.8]
    assert left_out == {"measured again later": 1}


def test_runs_that_did_not_end_and_runs_of_other_data_do_not_count(make_run):
    other = make_run(32, seed=3)
    other["tags"]["data_digest"] = "d0"
    running = make_run(32, seed=4)
    del running["tags"]["outcome"]
    runs, left_out = counted([other, running, make_run(32, outcome="killed"), make_run(32, seed=1)])
    assert len(runs) == 1
    assert left_out == {"unfinished or stopped": 2, "of another version of the data": 1}


def test_a_fresh_seed_of_a_pick_is_kept_apart_from_the_trial_that_was_picked(make_run, make_study):
    fresh = [make_run(32, 0.8, seed, pick="knee", trial=4) for seed in (1, 2, 3)]
    study = make_study([make_run(32, 0.99, 0, trial=4), *fresh])
    assert study.rows[0].score.value == 0.99
    assert math.isclose(study.fresh[4].score.value, 0.8)


def test_a_diverged_seed_keeps_a_configuration_from_being_the_best(make_run, make_study):
    lucky = [make_run(32, 0.99, 0, lr=1.0), make_run(32, 0.0, 1, lr=1.0, outcome="diverged")]
    study = make_study([*lucky, make_run(32, 0.9, 0), make_run(32, 0.9, 1)])
    assert [row.lr for row in best_by_size(study, study.rows)] == [0.1]


def test_settings_beside_batch_size_and_lr_make_lines_of_their_own(make_run, make_study):
    names = ("torch.optim.SGD", "torch.optim.Adam")
    runs = [
        make_run(size, lr=lr, **{"optimizer._target_": name})
        for size in (32, 64)
        for lr in (0.1, 0.2)
        for name in names
    ]
    assert set(labelled(make_study(runs))) == {"SGD", "Adam"}
    both = [
        make_run(32, **{"optimizer._target_": name, "num_threads": value})
        for name, value in zip(names, ("", "1"), strict=True)
    ]
    assert set(labelled(make_study(both))) == {"optimizer SGD, num_threads null", "optimizer Adam, num_threads 1"}
    many = [make_run(32, **{"model.width": str(width)}) for width in range(9)]
    assert list(labelled(make_study(many))) == [""]


def test_the_training_split_follows_from_steps_and_epochs(grid):
    assert num_train(grid) == 1000
