import pytest
import torch

from batchlab.laws.gradient_noise import noise_scale, two_batch
from batchlab.measures.gradients import training_sample
from batchlab.measures.noise_estimators import exact_noise
from batchlab.run.training_run import run
from batchlab.training.build import build
from batchlab.training.grad_norm_accumulator import MAX_STEPS, MIN_STEPS
from batchlab.training.gradient import accumulate
from batchlab.training.plan import part_sizes


def steps(built, starts, sizes):
    for start in starts:
        built.train_step.optimizer.zero_grad()
        accumulate(built.train_step, built.stream, start, sizes)


def test_the_accumulated_norms_are_of_the_two_gradients_computed_slowly(config_of):
    built = build(config_of("micro_batch_size=50"), seed=0)
    sizes, starts, norms = part_sizes(128, 50), range(0, 640, 128), []
    assert sizes == [43, 43, 42]
    steps(built, starts, sizes)
    found = built.train_step.grad_norms.read(1257)
    parameters = list(built.train_step.model.parameters())
    for start in starts:
        for count in (43, 128):
            loss = built.train_step.compute_loss(*built.stream.take(start, count))
            norms.append(sum(part.double().square().sum().item() for part in torch.autograd.grad(loss, parameters)))
    slow = noise_scale(*two_batch(norms[::2], norms[1::2], 43, 128, 1257))
    assert found.num_draws == 5
    assert (found.noise, found.signal) == pytest.approx((slow.noise, slow.signal), rel=1e-4)  # float32 gradients
    assert found.scale.value == pytest.approx(slow.scale.value, rel=1e-4)


def test_micro_batch_against_total_agrees_with_the_exact_scale_within_a_quarter(config_of):
    built = build(config_of("epochs=2", "micro_batch_size=32", "measure=brief"), seed=0)
    for _ in run(built):
        pass
    exact = exact_noise(built.train_step.model, built.loss_function, training_sample(built, 10**6)).noise.scale
    built.train_step.model.eval()
    built.train_step.grad_norms.read(1257)
    steps(built, range(0, 400 * 128, 128), part_sizes(128, 32))
    found = built.train_step.grad_norms.read(1257)
    assert found.num_draws == 400
    assert found.scale.value == pytest.approx(exact.value, rel=0.25)


def test_a_reading_goes_back_to_the_last_one_but_not_less_than_16_steps(config_of):
    grad_norms, sizes = build(config_of("micro_batch_size=2"), seed=0).train_step.grad_norms, part_sizes(4, 2)
    built = build(config_of(), seed=0)
    assert grad_norms.read(1257) is None
    for parameter, owned in zip(grad_norms._parameters, built.train_step.model.parameters(), strict=True):
        parameter.grad = torch.ones_like(owned)
    expected = [(3, 3), (2, 5), (40, 40), (2, MIN_STEPS), (MAX_STEPS + 5, MAX_STEPS)]
    for num_steps, num_draws in expected:
        for _ in range(num_steps):
            grad_norms.add(sizes[0], 4)
            grad_norms.add(4, 4)
        assert grad_norms.read(1257).num_draws == num_draws
    assert grad_norms.read(1257) is None


def test_whole_batches_and_scaled_gradients_are_not_tallied(config_of):
    built = build(config_of(), seed=0)
    steps(built, [0, 128], [128])
    assert built.train_step.grad_norms.read(1257) is None
    assert build(config_of("precision=float16", "micro_batch_size=8"), seed=0).train_step.grad_norms is None
    assert build(config_of("measure=none", "micro_batch_size=8"), seed=0).train_step.grad_norms is None
