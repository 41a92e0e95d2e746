"""DINOv2's vision transformer (Oquab et al. 2023, arXiv:2304.07193), as far as the class token needs it.

Written from the paper and from the names and shapes of the published weights, since torch-fidelity takes the network from
code that torch.hub fetches and runs.
"""

from collections import OrderedDict

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

TRAINED_GRID = 37  # patches a side while it was trained: 518 pixels
OFFSET = 0.1  # added to the wanted grid before positions are interpolated, as it was in training
EPSILON = 1e-6  # of the layer norms


class _Attention(nn.Module):
    """Self-attention with heads of 64 channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Float32[Tensor, "N T D"]) -> Float32[Tensor, "N T D"]:
        count, length, width = tokens.shape
        query, key, value = self.qkv(tokens).view(count, length, 3, width // 64, 64).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        found: Tensor = self.proj(mixed.transpose(1, 2).reshape(count, length, width))
        return found


class _Scale(nn.Module):
    """A learnt factor for each channel (LayerScale)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Float32[Tensor, "N T D"]) -> Float32[Tensor, "N T D"]:
        return tokens * self.gamma


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=EPSILON) for _ in range(2))
        self.ls1, self.ls2 = _Scale(width), _Scale(width)
        self.attn = _Attention(width)
        self.mlp = nn.Sequential(OrderedDict(fc1=nn.Linear(width, 4 * width), act=nn.GELU(), fc2=nn.Linear(4 * width, width)))

    def forward(self, tokens: Float32[Tensor, "N T D"]) -> Float32[Tensor, "N T D"]:
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))


class DinoV2(nn.Module):
    """Normalised square images [N, 3, S, S], S a multiple of `patch`, to the class token's features [N, width].

    `width` is a multiple of 64. The names of its tensors are those of the published weights.
    """

    def __init__(self, width: int, depth: int, patch: int = 14) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + TRAINED_GRID ** 2, width))
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv2d(3, width, patch, stride=patch)))
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.patch = patch

    def forward(self, images: Float32[Tensor, "N 3 S S"]) -> Float32[Tensor, "N D"]:
        patches = self.patch_embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1)
        tokens = tokens + self.positions(images.shape[-1] // self.patch)
        for block in self.blocks:
            tokens = block(tokens)
        found: Tensor = self.norm(tokens[:, 0])
        return found

    def positions(self, grid: int) -> Float32[Tensor, "1 T D"]:
        """The learnt positions for grid x grid patches, by bicubic interpolation of the trained ones."""
        if grid == TRAINED_GRID:
            return self.pos_embed
        square = self.pos_embed[:, 1:].view(1, TRAINED_GRID, TRAINED_GRID, -1).permute(0, 3, 1, 2)
        factor = (grid + OFFSET) / TRAINED_GRID
        square = functional.interpolate(square, scale_factor=(factor, factor), mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], square.flatten(2).transpose(1, 2)], dim=1)
