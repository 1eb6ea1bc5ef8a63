"""What each panel shows, against what the runs were made from."""

import math

import pytest

from batchlab.report.by_size import score_panel, size_points
from batchlab.report.curves import MAX_SEEDS, MAX_SIZES, curve_panels, curve_points, drawn, noise_panel
from batchlab.report.lr_figure import cell, in_words, lr_points
from batchlab.report.page import figure_of, log_ticks, tick_text
from batchlab.report.page_tables import failure_points, provenance_points
from batchlab.report.panel import Axis, Panel, Trace
from batchlab.report.sharpness_figure import sharpness_panels, sharpness_points
from batchlab.report.step_time_panel import step_panel, step_points
from batchlab.report.study_data import FailedTrial, Search
from batchlab.report.study_page import contents_of
from batchlab.report.time_to_target import target_panels, target_points
from batchlab.report.tradeoff import pareto_panel, pareto_points


def nothing_recorded(run_ids, metrics):
    return {}


def test_points_by_size_are_means_with_intervals_over_seeds(grid):
    trace = score_panel(size_points(grid), grid).traces[0]
    assert trace.x == [32, 128, 512]
    assert trace.y[0] == pytest.approx(0.964)
    half_width = 4.302653 * 0.004 / math.sqrt(3)  # t(.975, 2) s / sqrt(n)
    assert trace.high[0] - trace.y[0] == pytest.approx(half_width, rel=1e-5)
    assert trace.commands[1] == "python train.py batch_size=128 lr=0.1"


def test_one_seed_has_no_interval(make_run, make_study):
    study = make_study([make_run(32), make_run(64)])
    panel = score_panel(size_points(study), study)
    assert panel.traces[0].low is None
    assert "no interval" in panel.note


def test_the_front_is_of_those_that_no_other_beats(make_run, make_study):
    values = {32: (9.0, 0.95), 64: (3.0, 0.94), 128: (4.0, 0.90), 256: (1.0, 0.80)}
    study = make_study([make_run(size, accuracy, seconds=seconds) for size, (seconds, accuracy) in values.items()])
    points = pareto_points(study)
    assert [points.rows[place].batch_size for place in points.front] == [256, 64, 32]
    panel = pareto_panel(points, study, study.rows[1])
    assert [trace.name for trace in panel.traces] == ["other configurations", "Pareto front", "recommended"]
    assert panel.traces[2].x == [3.0]


def test_a_search_is_drawn_by_its_own_objectives(make_run, make_study):
    found = Search(["cost/peak_memory_bytes", "final/val_loss"], ["minimize", "minimize"], {}, {}, [])
    points = pareto_points(make_study([make_run(32, 0.9, trial=0), make_run(64, 0.8, trial=1)], found))
    assert points.metrics == ("cost/peak_memory_bytes", "final/val_loss")
    assert [points.rows[place].batch_size for place in points.front] == [32]


def test_the_step_time_law_of_the_runs_is_the_one_they_were_made_by(grid):
    [points] = step_points(grid)
    assert points.law.alpha_seconds.value == pytest.approx(2e-3, rel=1e-6)
    assert points.law.beta_seconds.value == pytest.approx(1e-5, rel=1e-6)
    assert [trace.name for trace in step_panel([points]).traces] == ["measured", "α + β·B"]


def test_runs_whose_batch_grows_say_nothing_of_a_step(make_run, make_study):
    grows = {"batch_schedule._target_": "batchlab.optim.batch_schedule.grow"}
    assert step_points(make_study([make_run(32, **grows), make_run(64, **grows)])) == []


def test_both_laws_give_the_best_batch_size(make_run, make_study):
    def run(size, seed):
        examples, step = 5000 * (1 + size / 400), 2e-3 + 1e-5 * size
        seconds = examples / size * step
        target = {"target/seconds": seconds, "target/examples": examples, "target/epochs": examples / 1000}
        target |= {"target/steps": examples / size, "cost/num_steps": examples / size}
        return make_run(size, 0.95, seed, seconds=seconds, **target, **{"progress/epochs": examples / 1000})

    study = make_study([run(size, seed) for size in (16, 64, 256, 1000) for seed in range(3)])
    points = target_points(study, step_points(study)[0].law)
    target, convergence = target_panels(points, study)
    assert "B* = 283" in target.note  # sqrt(400 * 2e-3 / 1e-5)
    assert "B_crit 400" in convergence.note
    law = convergence.traces[1]
    assert law.y[0] == pytest.approx(5000 * (1 + 16 / 400), rel=1e-6)


def test_the_best_lr_moves_with_the_exponent_it_was_made_with(make_run, make_study):
    def accuracy(size, lr):
        return 0.9 - 0.1 * math.log(lr / (0.1 * (size / 32) ** 0.5)) ** 2

    rates = [0.025 * 2**power for power in range(8)]
    runs = [make_run(size, accuracy(size, lr), lr=lr) for size in (32, 128, 512) for lr in rates]
    [points] = lr_points(make_study(runs))
    assert points.law.exponent.value == pytest.approx(0.5)
    assert points.law.exponent.low < 0.45  # rates stand a factor of two apart: the best of them is no better known
    assert points.at_end == []
    assert [row.lr for row in points.best] == [0.1, 0.2, 0.4]


def test_through_two_batch_sizes_goes_no_exponent(make_run, make_study):
    runs = [make_run(size, 0.9 - abs(lr - size / 320), lr=lr) for size in (32, 128) for lr in (0.1, 0.2, 0.4)]
    [points] = lr_points(make_study(runs))
    assert points.law is None
    assert in_words(points) == ["2 batch sizes do not tell how the best lr moves with the batch size."]


def test_one_lr_per_batch_size_gives_no_exponent(grid):
    assert lr_points(grid) == []


@pytest.mark.parametrize(("lr", "width"), [(1.0, math.log(10)), (10.0, math.log(10)), (100.0, math.log(10))])
def test_the_cell_of_a_rate_reaches_half_way_to_its_neighbours(lr, width):
    assert cell(lr, [1.0, 10.0, 100.0]) == pytest.approx(width)


def test_curves_are_means_over_seeds_where_all_have_a_value(make_run, make_study):
    study = make_study([make_run(32, seed=seed) for seed in range(2)])

    def curve(run_id, metric):
        seed = int(run_id.split("-")[3])
        values = {"val/accuracy": 0.5 + 0.2 * seed, "progress/epochs": 1.0, "noise/gradient_noise_scale": 40.0}
        steps = range(10, 40 if seed else 30, 10)
        return {step: values.get(metric, 1.0) * step / 10 for step in steps}

    def read(run_ids, metrics):
        return {(run_id, metric): curve(run_id, metric) for run_id in run_ids for metric in metrics}

    [points] = curve_points(study, read)
    assert points.score == pytest.approx([0.6, 1.2])
    assert points.x["steps"] == [10, 20]
    assert [panel.choice for panel in curve_panels([points], study)] == ["epochs", "examples", "steps", "seconds"]
    assert noise_panel([points]).traces[0].y == [40.0, 80.0]


def test_curves_are_read_of_forty_runs_at_most(make_run, make_study):
    study = make_study([make_run(2**power, seed=seed) for power in range(12) for seed in range(9)])
    chosen = drawn(study)
    assert (chosen[0][0].batch_size, chosen[-1][0].batch_size) == (1, 2048)
    assert sum(len(runs) for _, runs in chosen) == MAX_SIZES * MAX_SEEDS


def test_sharpness_has_a_panel_for_each_measure_and_none_for_what_is_said_of_it(make_run, make_study):
    measured = {"sharpness/lambda_max": 3.0, "sharpness/trace": 9.0, "sharpness/trace_standard_error": 0.1}
    panels = sharpness_panels(sharpness_points(make_study([make_run(32, **measured), make_run(64, **measured)])), "")
    assert [(panel.name, panel.switch, panel.choice) for panel in panels] == [
        ("sharpness-lambda_max", "sharpness", "λ_max"),
        ("sharpness-trace", "sharpness", "trace"),
    ]


def test_failures_with_one_cause_are_counted_together(make_run, make_study):
    runs = [make_run(32, lr=9.0, seed=seed, outcome="diverged") for seed in range(3)]
    for step, run in enumerate(runs):
        run["tags"]["cause"] = f"the training loss was nan at step {step}"
    [failure] = failure_points(make_study([*runs, make_run(32)]))
    assert (failure.outcome, failure.count) == ("diverged", 3)
    assert failure.settings == ["batch size 32, lr 9"]


def test_a_trial_without_a_run_is_a_failure_too(make_run, make_study):
    crashed = FailedTrial("crashed", "KeyError: 'x'", "batch size 64")
    study = make_study([make_run(32, trial=0)], Search(["final/val_loss"], ["minimize"], {}, {}, [crashed]))
    assert [failure.cause for failure in failure_points(study)] == ["KeyError: 'x'"]


def test_provenance_has_dates_of_the_records_and_every_commit(make_run, make_study):
    other = make_run(64)
    other["tags"] |= {"commit": "c2", "load_average": "7.00"}
    facts = provenance_points(make_study([make_run(32), make_run(128), other]))
    assert facts["recorded"] == "1970-01-01 00:00 to 1970-01-01 00:01 UTC"
    assert facts["commit"] == "c1 (2 runs); c2 (1 runs)"
    assert facts["load average"].startswith("0.50 to 7.00")


def test_a_panel_without_data_is_left_out(grid, make_study, make_run):
    names = [panel.name for panel in contents_of(grid, nothing_recorded)[1]]
    assert names == ["score", "seconds", "pareto", "throughput", "step_time"]
    summary, panels, tables = contents_of(make_study([make_run(32, outcome="diverged")]), nothing_recorded)
    assert panels == []
    assert [listing.name for listing in tables] == ["failures", "provenance"]
    assert "recommended" not in summary


@pytest.mark.parametrize(
    ("values", "inside"),
    [
        ([16, 1024], [20, 50, 100, 200, 500, 1000]),
        ([1, 1e6], [1, 10, 100, 1e3, 1e4, 1e5, 1e6]),
        ([3.0, 4.0], []),
        ([math.nan, 0.0, -1.0], []),
    ],
)
def test_ticks_of_a_logarithmic_axis(values, inside):
    assert [tick for tick in log_ticks(values) if min(values) <= tick <= max(values)] == inside


def test_ticks_are_written_short():
    assert [tick_text(tick) for tick in (2e-5, 0.05, 1.0, 2000.0, 5e6)] == ["2e-5", "0.05", "1", "2,000", "5e6"]


def test_what_stands_behind_is_drawn_first_and_does_not_flatten_the_rest():
    traces = [Trace("best", [1, 2], [0.9, 0.92]), Trace("others", [1, 2], [0.1, 0.91], style="points", is_faint=True)]
    figure = figure_of(Panel("p", "t", Axis("x", is_log=True), Axis("y"), traces))
    assert [each["name"] for each in figure["data"]] == ["others", "best"]
    low, high = figure["layout"]["yaxis"]["range"]
    assert 0.1 < low < 0.9
    assert high > 0.92
    assert figure["layout"]["annotations"][0]["text"].startswith("1 more outside")
