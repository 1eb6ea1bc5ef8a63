import io
import math

import pytest
from rich.console import Console

from batchlab.config.objectives import CALIBRATED
from batchlab.laws.estimate import mean_of
from batchlab.report.comparison import comparison_rows, draw_table, verdict
from batchlab.report.sharpness_figure import describe_sharpness, draw_sharpness
from batchlab.system.progress import make_console


def recorded(batch_size, accuracy, seed=0, outcome="done", **params):
    metrics = {"final/val_accuracy": accuracy, "cost/train_seconds": 2.0 + seed, "cost/num_steps": 1000 / batch_size}
    metrics |= {
        "cost/total_seconds": 5.0,
        "cost/examples_per_second": 1e4,
        "cost/peak_memory_bytes": 2.0**30,
        "final/val_loss": 0.5,
    }
    values = {"batch_size": str(batch_size), "lr_used": "0.1", "seed": str(seed)} | params
    key = "-".join(f"{name}{value}" for name, value in values.items() if name != "seed")
    return {"params": values, "metrics": metrics, "tags": {"config_key": key, "outcome": outcome}}


def with_sharpness(run, loss, lambda_max):
    run["metrics"] |= {"sharpness/train_loss": loss, "sharpness/lambda_max": lambda_max}
    run["params"] |= {"measure.num_examples": "2000", "measure.batch_norm": "train"}
    return run


def drawn(rows):
    console = Console(file=io.StringIO(), width=120)
    console.print(draw_table(rows, "title"))
    return console.file.getvalue()


def test_the_interval_is_students():
    found = mean_of([1.0, 2.0, 3.0, 4.0])
    assert found.value == 2.5
    assert found.half_width == pytest.approx(3.182446 * 1.290994 / 2, rel=1e-5)  # t(.975, 3) s / sqrt(4)


def test_one_value_has_no_interval_and_nan_is_left_out():
    assert math.isnan(mean_of([1.0]).half_width)
    assert mean_of([1.0, math.nan]).n == 1
    assert math.isnan(mean_of([math.nan]).value)


def test_one_row_per_batch_size_in_order_with_seeds_averaged():
    runs = [recorded(512, 0.8), recorded(32, 0.9), recorded(32, 0.92, seed=1)]
    rows = comparison_rows(runs)
    assert [(row.batch_size, row.n) for row in rows] == [(32, 2), (512, 1)]
    assert rows[0].score.value == pytest.approx(0.91)
    text = drawn(rows)
    assert "0.9100 ± 0.1271" in text
    assert "0.8000 ±" not in text


def test_other_settings_that_vary_get_a_column():
    runs = [
        recorded(32, 0.9, **{"model._target_": name, "model.width": width})
        for name, width in (("a.mlp", 8), ("a.net", 9))
    ]
    rows = comparison_rows(runs)
    assert [row.varied for row in rows] == [{"model": "mlp"}, {"model": "net"}]
    assert "model" in drawn(rows)


def test_outcomes_other_than_done_are_said_and_missing_numbers_are_dashes():
    rows = comparison_rows([recorded(32, math.nan, outcome="diverged"), recorded(64, 0.9)])
    assert rows[0].outcomes == "1 diverged"
    assert "1 diverged" in drawn(rows)
    assert "nan" not in drawn(rows)


def test_the_table_fits_a_terminal_of_80_columns():
    console = Console(file=io.StringIO(), width=80)
    console.print(draw_table(comparison_rows([recorded(2**k, 0.9, seed) for k in range(5, 9) for seed in (0, 1)]), "t"))
    assert max(map(len, console.file.getvalue().splitlines())) <= 80
    assert "batch size" in console.file.getvalue()


def test_the_verdict_names_the_fastest_of_those_that_intervals_do_not_tell_apart():
    accuracies = {32: (0.90, 0.91, 0.905), 128: (0.90, 0.90, 0.905), 512: (0.70, 0.71, 0.705)}
    runs = [recorded(size, value, seed) for size, values in accuracies.items() for seed, value in enumerate(values)]
    for run in runs:
        run["metrics"]["cost/train_seconds"] = 100 / float(run["params"]["batch_size"])
    said = verdict(comparison_rows(runs))
    assert "Highest val accuracy: batch size 32 (0.9050" in said
    assert "Not told apart from it at n = 3: batch size 128. Fastest among these: batch size 128." in said


def test_seconds_as_if_alone_stand_beside_the_measured_ones_and_decide():
    runs = [recorded(size, 0.9, seed) for size in (32, 128) for seed in (0, 1, 2)]
    assert "if alone" not in drawn(comparison_rows(runs))
    for run in runs:
        is_small = run["params"]["batch_size"] == "32"
        run["metrics"] |= {"cost/train_seconds": 9.0 if is_small else 4.0, CALIBRATED: 1.25 if is_small else 3.5}
    rows = comparison_rows(runs)
    assert [row.seconds.value for row in rows] == [1.25, 3.5]
    assert "s if alone" in drawn(rows)
    assert "9.00" in drawn(rows)
    assert "1.25" in drawn(rows)
    assert "± 0.00" not in drawn(rows)  # computed seconds are one number for all seeds
    assert "Fastest among these: batch size 32." in verdict(rows)


def test_a_swept_lr_has_one_column_and_names_configurations():
    runs = [recorded(512, accuracy, lr=lr, lr_used=lr) for lr, accuracy in (("0.113", 0.9), ("0.02", 0.8))]
    rows = comparison_rows(runs)
    assert [column.header for column in draw_table(rows, "t").columns].count("lr") == 1
    assert "Highest val accuracy: batch size 512, lr 0.113 (" in verdict(rows)


def test_the_verdict_does_not_judge_one_seed():
    said = verdict(comparison_rows([recorded(32, 0.9), recorded(64, 0.8)]))
    assert "One seed does not tell whether they differ" in said
    assert verdict(comparison_rows([recorded(32, 0.9)])) == ""


def test_sharpness_stands_beside_its_loss_and_says_how_batch_norm_was_measured():
    runs = [with_sharpness(recorded(size, 0.9, seed), 0.02, 7.0 * size + seed) for size in (32, 512) for seed in (0, 1)]
    console = Console(file=io.StringIO(), width=100)
    console.print(draw_sharpness(comparison_rows(runs)))
    text = console.file.getvalue()
    assert "at most 2,000 training examples, batch norm with the sample's statistics" in describe_sharpness(
        [{"params": {}}, *runs]
    )
    assert "224 ± 6.4" in text  # t(.975, 1) * .7071 / sqrt(2) = 6.35
    assert "0.02 ± 0" in text
    assert "adaptive SAM" not in text


def test_brackets_in_a_command_are_printed(capsys):
    make_console().print("Run it: python train.py +best=knee 'trust=[mynet]'", soft_wrap=True)
    assert "'trust=[mynet]'" in capsys.readouterr().out


def test_runs_without_measures_have_no_table_of_sharpness():
    runs = [recorded(32, 0.9), recorded(64, 0.9)]
    assert draw_sharpness(comparison_rows(runs)) is None
    assert draw_sharpness(comparison_rows([with_sharpness(run, math.nan, math.nan) for run in runs])) is None
