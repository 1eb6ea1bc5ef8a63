import pytest
import torch

from batchlab.errors import ConfigErrors
from batchlab.models.losses import Contrastive, Views
from batchlab.models.simclr import SimCLR, linear_discriminant
from batchlab.run.training_run import run
from batchlab.training.build import build

TYPED = ["model=simclr", "loss=contrastive", "measure=none", "num_threads=1", "lr=0.06"]


def model_and_images(**settings) -> tuple[SimCLR, torch.Tensor]:
    torch.manual_seed(0)
    return SimCLR((1, 8, 8), 10, width=4, **settings), torch.randn(20, 1, 8, 8)


def finals_and_weights(config):
    built = build(config, config.seed)
    training = run(built)
    while True:
        try:
            next(training)
        except StopIteration as stop:
            return stop.value.finals, stop.value.weights, built


def test_training_gives_two_projections_of_each_example_and_evaluation_logits():
    model, images = model_and_images(projection_width=5)
    output = model(images)
    assert isinstance(output, Views)
    assert output.projections.shape == (40, 5)
    assert not torch.allclose(output.projections[:20], output.projections[20:])
    assert model.eval()(images).shape == (20, 10)


def test_every_weight_learns():
    model, images = model_and_images(norm="ghost_batch", ghost_size=4)
    Contrastive()(model(images), torch.arange(20)).backward()
    assert all(weight.grad.isfinite().all() and weight.grad.any() for weight in model.parameters())


def test_the_classifier_is_the_discriminant_of_the_features_and_fitting_it_changes_nothing_else():
    model, images = model_and_images()
    model(images)
    targets, before = torch.arange(20) % 10, {name: value.clone() for name, value in model.state_dict().items()}
    model.fit_classifier([(images[:12], targets[:12]), (images[12:], targets[12:])])
    assert all(module.training for module in model.modules())
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"weight", "bias"}
    features = model.eval().encoder(images)
    weight, bias = linear_discriminant(features, targets, 10)
    torch.testing.assert_close(model(images), features @ weight.float().T + bias.float())


def test_labels_do_not_change_what_the_body_learns(config_of):
    config = config_of(*TYPED, "model.width=4", "epochs=1", "batch_size=256")
    _, expected, _ = finals_and_weights(config)
    built = build(config, config.seed)
    built.dataset.train.targets.copy_(built.dataset.train.targets.flip(0))
    try:
        for _ in run(built):
            pass
        learned = built.train_step.model.state_dict()
    finally:  # the data set is kept for the whole process
        built.dataset.train.targets.copy_(built.dataset.train.targets.flip(0))
    bodies = [name for name in expected if name.startswith(("encoder", "projection"))]
    assert all(torch.equal(expected[name], learned[name]) for name in bodies)
    assert not torch.equal(expected["weight"], learned["weight"])


def test_a_seed_repeats_a_run_bit_by_bit_however_often_it_is_evaluated(config_of):
    typed = [*TYPED, "model.width=4", "epochs=2", "batch_size=256"]
    _, first, _ = finals_and_weights(config_of(*typed))
    _, second, _ = finals_and_weights(config_of(*typed, "eval.every_examples=256"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    _, other, _ = finals_and_weights(config_of(*typed, "seed=1"))
    assert not torch.equal(first["encoder.0.weight"], other["encoder.0.weight"])


@pytest.mark.slow
def test_training_without_labels_makes_classes_linearly_separable(config_of):
    """Over three seeds: a single one gains between 2 and 8 points, by the rounding of the CPU."""
    gains = []
    for seed in range(3):
        typed = [*TYPED, "model.width=8", "batch_size=64", f"seed={seed}"]
        untrained, _, _ = finals_and_weights(config_of(*typed, "budget=steps", "budget.num_steps=1", "lr=1e-9"))
        trained, _, _ = finals_and_weights(config_of(*typed, "epochs=12", "optimizer=adam", "lr=0.003"))
        gains.append(trained["final/val_accuracy"] - untrained["final/val_accuracy"])
    assert sum(gains) / 3 > 0.02


@pytest.mark.parametrize("shape", [(20,), (1, 7, 8)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ConfigErrors, match="model=simclr: it takes images"):
        SimCLR(shape, 10)
