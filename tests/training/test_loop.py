from dataclasses import replace

import pytest
import torch

from batchlab.data.stream import BatchStream
from batchlab.run.training_run import run, run_to_end, warm_up
from batchlab.training.build import build
from batchlab.training.evaluation import Evaluation
from batchlab.training.gradient import accumulate
from batchlab.training.loop import fit
from batchlab.training.plan import part_sizes


def gradient_of(built, batch_size, micro):
    built.train_step.optimizer.zero_grad()
    accumulate(built.train_step, built.stream, 0, part_sizes(batch_size, micro))
    return torch.cat([parameter.grad.flatten().clone() for parameter in built.train_step.model.parameters()])


def curves(built):
    points = [each.point for each in run_all(built)[0]]
    return [(p.counts.steps, p.train_loss, p.lr, p.batch_size) for p in points]


def run_all(built):
    points = []
    result = run_to_end(run(built), points.append)
    return [each for each in points if isinstance(each, Evaluation)], result


@pytest.mark.parametrize(("batch_size", "micro"), [(512, 128), (127, 32), (127, 50), (3, 1)])
def test_parts_give_the_gradient_of_the_whole_batch(config_of, batch_size, micro):
    built = build(config_of("model=mlp", "model.norm=layer"), seed=0)
    whole, parts = gradient_of(built, batch_size, None), gradient_of(built, batch_size, micro)
    assert (whole - parts).norm() / whole.norm() < 1e-6  # float32 rounding of the sums


def test_batch_norm_makes_parts_differ_and_ghosts_of_their_size_do_not(config_of):
    """With batch norm each part has its own statistics, so accumulation is another computation, by percents."""
    with_norm = build(config_of("model=mlp", "model.norm=batch"), seed=0)
    whole, parts = gradient_of(with_norm, 512, None), gradient_of(with_norm, 512, 128)
    assert (whole - parts).norm() / whole.norm() > 1e-2
    ghosts = build(config_of("model=mlp", "model.norm=ghost_batch", "model.ghost_size=128"), seed=0)
    whole, parts = gradient_of(ghosts, 512, None), gradient_of(ghosts, 512, 128)
    assert (whole - parts).norm() / whole.norm() < 1e-6


@pytest.mark.parametrize(
    "extra", [[], ["data.resident=false"], ["model=convnet", "micro_batch_size=50", "measure=none"]]
)
def test_the_same_seed_gives_the_same_curve_to_the_last_bit(config_of, extra):
    first, second = (curves(build(config_of("epochs=2", *extra), seed=5)) for _ in range(2))
    assert first == second
    assert curves(build(config_of("epochs=2", *extra), seed=6)) != first


def test_streamed_data_gives_the_resident_curve_to_the_last_bit(config_of):
    resident, streamed = (
        run_all(build(config_of("epochs=2", f"data.resident={value}"), seed=1)) for value in ("true", "false")
    )
    assert [each.point.train_loss for each in resident[0]] == [each.point.train_loss for each in streamed[0]]
    assert resident[1].finals["final/val_loss"] == streamed[1].finals["final/val_loss"]


def test_every_step_sees_exactly_its_batch_across_passes(config_of, monkeypatch):
    taken = []
    take = BatchStream.take

    def spy(self, start, count):
        taken.append((start, count))
        return take(self, start, count)

    monkeypatch.setattr(BatchStream, "take", spy)
    built = build(config_of("epochs=3", "batch_size=500"), seed=0)
    list(fit(built.train_step, built.stream, built.plan, built.schedule, built.clock))
    assert taken == [(500 * step, 500) for step in range(8)]  # round(3 * 1257 / 500)


def test_l_bfgs_counts_each_of_its_passes(config_of):
    points, result = run_all(build(config_of("optimizer=lbfgs", "budget=steps", "budget.num_steps=3"), seed=0))
    assert result.finals["cost/num_steps"] == 3
    assert result.finals["cost/num_examples"] > 3 * 128
    assert result.finals["cost/num_examples"] % 128 == 0
    assert points[-1].point.epochs == pytest.approx(3 * 128 / 1257)


def test_a_budget_of_examples_ends_with_l_bfgs_too(config_of):
    config = config_of("optimizer=lbfgs", "budget=examples", "budget.num_examples=2000")
    finals = run_all(build(config, seed=0))[1].finals
    assert 2000 <= finals["cost/num_examples"] < 2000 + 128 * 30
    assert finals["cost/num_steps"] < 2000 / 128


def test_a_loss_that_is_not_finite_ends_the_run_as_an_outcome(config_of):
    config = config_of("loss=squared_error", "optimizer=sgd", "lr=1e30", "batch_size=16", "epochs=50")
    points, result = run_all(build(config, seed=0))
    assert result.outcome == "diverged"
    assert "loss was" in result.cause
    assert result.finals["final/val_accuracy"] != result.finals["final/val_accuracy"]
    assert points[-1].point.counts.steps <= 128


def test_memory_that_runs_out_is_an_outcome(config_of, monkeypatch):
    built = build(config_of("epochs=1"), seed=0)

    def too_large(*_):
        return torch.empty(2**60)

    train_step = replace(built.train_step, compute_loss=too_large)
    _, result = run_all(replace(built, train_step=train_step))
    assert result.outcome == "out_of_memory"
    assert "allocate" in result.cause


def test_other_errors_of_the_model_are_not_swallowed(config_of):
    built = build(config_of("epochs=1"), seed=0)
    train_step = replace(built.train_step, compute_loss=lambda x, y: x @ torch.ones(3, 3))
    with pytest.raises(RuntimeError, match="shape"):
        run_all(replace(built, train_step=train_step))


def test_growing_keeps_the_noise_scale_of_the_decayed_lr_and_the_number_of_examples(config_of):
    step = [
        "lr_schedule=step",
        "lr_schedule.milestones=[0.3,0.6,0.8]",
        "lr_schedule.factor=0.5",
        "batch_size=16",
        "epochs=4",
    ]
    decayed = run_all(build(config_of(*step), seed=0))
    grown = run_all(build(config_of(*step, "batch_schedule=grow", "batch_schedule.max_batch_size=64"), seed=0))
    assert [each.point.batch_size for each in grown[0]] == [16, 32, 64, 64]
    assert [each.point.lr / each.point.batch_size for each in grown[0]] == pytest.approx(
        [each.point.lr / 16 for each in decayed[0]]
    )
    assert grown[1].finals["cost/num_steps"] < 0.6 * decayed[1].finals["cost/num_steps"]
    assert abs(grown[1].finals["cost/num_examples"] - decayed[1].finals["cost/num_examples"]) <= 64


def test_evaluations_come_every_so_many_examples_at_every_batch_size(config_of):
    for batch_size in (50, 100, 199):
        points, _ = run_all(build(config_of("epochs=3", f"batch_size={batch_size}", "eval.every_examples=200"), seed=0))
        drawn = [each.point.counts.drawn for each in points[:-1]]
        assert [examples // 200 for examples in drawn] == list(range(1, len(drawn) + 1))
        assert all(examples % 200 < batch_size for examples in drawn)


def test_warming_up_changes_nothing(config_of):
    config = config_of("model=mlp", "model.norm=batch", "epochs=1")
    cold, warm = build(config, seed=0), build(config, seed=0)
    warm_up(warm)
    for name, value in cold.train_step.model.state_dict().items():
        assert torch.equal(value, warm.train_step.model.state_dict()[name])
    first, second = (list(fit(b.train_step, b.stream, b.plan, b.schedule, b.clock)) for b in (cold, warm))
    assert [p.train_loss for p in first if p.is_due] == [p.train_loss for p in second if p.is_due]


def test_the_clock_stands_while_the_caller_holds_a_point(config_of):
    built = build(config_of("epochs=2"), seed=0)
    for _ in fit(built.train_step, built.stream, built.plan, built.schedule, built.clock):
        before = built.clock.seconds
        sum(range(100_000))
        assert built.clock.seconds == before


def test_a_target_stops_the_run_and_is_interpolated(config_of):
    config = config_of("budget=target", "budget.score=0.9", "batch_size=32")
    points, result = run_all(build(config, seed=0))
    accuracies = [point.score for point in points]
    above = next(i for i in range(1, len(points)) if min(accuracies[i - 1], accuracies[i]) >= 0.9) - 1
    assert len(points) == above + 2
    before = points[above - 1].point.epochs if above else points[above].point.epochs
    assert before <= result.finals["target/epochs"] <= points[above].point.epochs
    assert result.finals["target/seconds"] <= result.finals["cost/train_seconds"]


def test_a_target_that_is_not_reached_is_censored(config_of):
    config = config_of("budget=target", "budget.score=1.0", "budget.max_epochs=1")
    _, result = run_all(build(config, seed=0))
    assert result.outcome == "done"
    assert result.finals["target/epochs"] != result.finals["target/epochs"]
    assert result.finals["cost/num_steps"] == 10


def test_bfloat16_trains(config_of):
    _, result = run_all(build(config_of("precision=bfloat16", "epochs=5"), seed=0))
    assert result.finals["final/val_accuracy"] > 0.7
