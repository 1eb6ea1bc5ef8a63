from pathlib import Path

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from batchlab.errors import ConfigErrors
from batchlab.models.convnet import convnet
from batchlab.models.losses import Contrastive
from batchlab.models.mlp import mlp, mlp6x64
from batchlab.models.norm import GhostBatchNorm
from batchlab.models.resnet20 import resnet20
from batchlab.models.torchvision import Torchvision
from batchlab.models.vit import ViT

CONF = Path(__file__).parents[2] / "conf/model"
MODELS = sorted(
    {path.stem for path in CONF.glob("*.yaml")} - {"own", "surface"}
)  # surface: tests/model/test_surface.py
NORMED = {"mlp": mlp, "mlp6x64": mlp6x64, "convnet": convnet, "resnet20": resnet20}
IMAGES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]


def from_yaml(name: str, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    settings = OmegaConf.load(CONF / f"{name}.yaml")
    return instantiate(settings, input_shape=input_shape, num_classes=num_classes)


@pytest.mark.parametrize("num_classes", [1, 10])
@pytest.mark.parametrize("input_shape", [*IMAGES, (20,)])
@pytest.mark.parametrize("name", MODELS)
def test_each_yaml_maps_its_inputs_to_logits(name, input_shape, num_classes):
    if len(input_shape) == 1 and not name.startswith("mlp"):
        with pytest.raises(InstantiationException, match="it takes images") as caught:
            from_yaml(name, input_shape, num_classes)
        assert isinstance(caught.value.__cause__, ConfigErrors)
        return
    model = from_yaml(name, input_shape, num_classes)
    if name != "simclr":  # see test_simclr.py: in training it gives projections
        assert model(torch.randn(4, *input_shape)).shape == (4, num_classes)
    assert model.eval()(torch.randn(4, *input_shape)).shape == (4, num_classes)


@pytest.mark.parametrize("norm", ["batch", "ghost_batch", "layer", "none"])
@pytest.mark.parametrize("input_shape", [*IMAGES, (20,)])
@pytest.mark.parametrize("name", NORMED)
def test_every_weight_gets_a_gradient_with_each_norm(name, input_shape, norm):
    if len(input_shape) == 1 and not name.startswith("mlp"):
        return
    torch.manual_seed(0)
    ghost_size = 4 if norm == "ghost_batch" else None
    model = NORMED[name](input_shape, 10, norm=norm, ghost_size=ghost_size)
    logits = model(torch.randn(8, *input_shape))
    nn.functional.cross_entropy(logits, torch.arange(8)).backward()
    assert logits.shape == (8, 10)
    assert all(weight.grad.isfinite().all() and weight.grad.any() for weight in model.parameters())
    sizes = [module.ghost_size for module in model.modules() if isinstance(module, GhostBatchNorm)]
    assert bool(sizes) == (norm == "ghost_batch")
    assert set(sizes) <= {4}


@pytest.mark.parametrize("name", MODELS)
def test_second_derivatives_exist(name):
    model = from_yaml(name, (1, 8, 8), 10)
    with sdpa_kernel(SDPBackend.MATH):  # as measures compute attention
        loss = Contrastive()(model(torch.randn(4, 1, 8, 8)), torch.arange(4))  # of logits the cross entropy
        gradients = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
        norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum()
        curvature = torch.autograd.grad(norm, list(model.parameters()), allow_unused=True)
    assert any(part is not None and part.any() for part in curvature)


def test_own_yaml_has_nothing_but_an_open_target():
    settings = OmegaConf.load(CONF / "own.yaml")
    assert list(settings) == ["_target_"]
    assert OmegaConf.is_missing(settings, "_target_")


def test_resnet20_has_the_parameters_of_option_a():
    num_parameters = sum(weight.numel() for weight in resnet20((3, 32, 32), 10).parameters())
    assert num_parameters == 269_722
    # Option B, the other common count, adds two 1x1 convolutions with batch norm.
    assert num_parameters + 16 * 32 + 32 * 64 + 2 * (32 + 64) == 272_474


def test_resnet20_has_20_layers_with_weights_and_stages_of_halved_size():
    model = resnet20((3, 32, 32), 10)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 20
    shapes = []
    for layer in model:
        layer.register_forward_hook(lambda _, __, outputs: shapes.append(tuple(outputs.shape[1:])))
    model(torch.randn(2, 3, 32, 32))
    assert {(16, 32, 32), (32, 16, 16), (64, 8, 8)} <= set(shapes)


def test_mlp6x64_is_the_network_of_s0():
    layers = list(mlp6x64((1, 28, 28), 10))
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == ["Flatten", *["Linear", "ReLU"] * 5, "Linear", "BatchNorm1d", "ReLU", "Linear"]
    widths = [(layer.in_features, layer.out_features) for layer in layers if isinstance(layer, nn.Linear)]
    assert widths == [(784, 64), *[(64, 64)] * 5, (64, 10)]


def test_mlp_of_depth_0_is_linear():
    assert [type(layer) for layer in mlp((20,), 1, depth=0)] == [nn.Flatten, nn.Linear]


def test_torchvision_shows_a_grey_image_as_three_equal_channels():
    torch.manual_seed(0)
    model = Torchvision((1, 32, 32), 10).eval()
    image = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(model(image), model.net(image.repeat(1, 3, 1, 1)))


def test_the_trial_image_leaves_a_torchvision_model_as_it_was():
    model = Torchvision((1, 32, 32), 10, name="resnet18")
    assert all(module.training for module in model.modules())
    assert model.get_buffer("net.bn1.num_batches_tracked") == 0


def test_vit_attention_equals_torchs():
    torch.manual_seed(0)
    attention = ViT((1, 8, 8), 10, width=8, num_heads=2, depth=1).blocks[0].attend[1]
    theirs = nn.MultiheadAttention(8, 2, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": attention.qkv.weight,
            "in_proj_bias": attention.qkv.bias,
            "out_proj.weight": attention.out.weight,
            "out_proj.bias": attention.out.bias,
        }
    )
    tokens = torch.randn(3, 4, 8)
    torch.testing.assert_close(attention(tokens), theirs(tokens, tokens, tokens)[0])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: mlp((20,), 10, width=0), r"model\.width=0: an integer from 1"),
        (lambda: mlp((20,), 10, depth=-1), r"model\.depth=-1: an integer from 0"),
        (lambda: mlp((20,), 10, depth=0, norm="batch"), r"model\.norm=batch: with model\.depth=0"),
        (lambda: mlp((20,), 10, ghost_size=4), r"model\.ghost_size=4: it has no effect"),
        (lambda: convnet((1, 7, 8), 10), r"model=convnet: it takes images of 8x8 pixels and up.*7x8"),
        (lambda: convnet((1, 8, 8), 10, width=0), r"model\.width=0"),
        (lambda: resnet20((3, 4, 4), 10), r"model=resnet20: it takes images of 8x8"),
        (lambda: resnet20((3, 8, 8), 10, norm="ghost"), r"Type model\.norm=ghost_batch"),
        (lambda: ViT((1, 28, 28), 10, patch_size=5), r"model\.patch_size=5: .*28x28.*patch_size=4"),
        (lambda: ViT((1, 28, 28), 10, num_heads=3), r"model\.num_heads=3: it must divide model\.width=64"),
        (lambda: ViT((1, 28, 28), 10, depth=0), r"model\.depth=0"),
        (lambda: Torchvision((2, 32, 32), 10), r"model=torchvision: .*1 or 3 channels, the data has 2"),
        (lambda: Torchvision((3, 32, 32), 10, name="resnet81"), r"Type model\.name=resnet18"),
        (lambda: Torchvision((1, 28, 28), 10, name="alexnet"), r"model\.name=alexnet: it needs images of 64x64"),
    ],
)
def test_wrong_settings_are_refused(build, message):
    with pytest.raises(ConfigErrors, match=message):
        build()
