"""A small vision transformer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from batchlab.data.argument_checks import image_shape, refuse, whole_number
from batchlab.errors import config_error


class Attention(nn.Module):
    """Self-attention with heads: ``softmax(q k^T / sqrt(width / num_heads)) v``, then a linear layer.

    Source: Vaswani et al. 2017, section 3.2.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map [B, tokens, width] to the same shape."""
        heads = self.qkv(tokens).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a two-layer network, each on normalised tokens and added to them.

    Source: Dosovitskiy et al. 2021, equations 2 and 3.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.attend = nn.Sequential(nn.LayerNorm(width), Attention(width, num_heads))
        self.think = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Map [B, tokens, width] to the same shape."""
        tokens = tokens + self.attend(tokens)
        return tokens + self.think(tokens)


class ViT(nn.Module):
    """Patches to tokens, learned positions, `depth` blocks, norm, mean over tokens, linear.

    Args:
        input_shape: (channels, height, width) of one image; height and width are multiples of patch_size.
        num_classes: outputs; 1 for regression.
        patch_size: height and width of a patch, in pixels.
        width: features per token, a multiple of num_heads.
        depth: blocks.
        num_heads: attention heads.

    Raises:
        ConfigErrors: where the input is no image, or a size does not fit.

    Source: Dosovitskiy et al. 2021; mean instead of a class token: Beyer et al. 2022, section 3.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        patch_size: int = 4,
        width: int = 64,
        depth: int = 4,
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        channels, num_rows, num_columns = image_shape("vit", input_shape, 1)
        sizes = {"patch_size": patch_size, "width": width, "depth": depth, "num_heads": num_heads}
        refuse(*(whole_number(f"model.{name}", size, 1, 1) for name, size in sizes.items()))
        if num_rows % patch_size or num_columns % patch_size:
            allowed = f"it must divide the image's {num_rows}x{num_columns} pixels"
            fitting = [n for n in (4, 2, 7, 8, 1) if num_rows % n == num_columns % n == 0]
            raise config_error("model.patch_size", patch_size, allowed, f"model.patch_size={fitting[0]}")
        if width % num_heads:
            allowed = f"it must divide model.width={width}"
            raise config_error("model.num_heads", num_heads, allowed, "model.num_heads=1")
        self.embed = nn.Conv2d(channels, width, patch_size, stride=patch_size)
        num_tokens = (num_rows // patch_size) * (num_columns // patch_size)
        self.positions = nn.Parameter(0.02 * torch.randn(num_tokens, width))
        self.blocks = nn.Sequential(*[Block(width, num_heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [B, *input_shape] to logits [B, num_classes]."""
        tokens = self.embed(inputs).flatten(2).mT + self.positions
        return self.head(self.norm(self.blocks(tokens)).mean(1))
