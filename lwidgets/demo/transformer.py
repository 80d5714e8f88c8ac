"""A vision transformer small enough to train in seconds."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lwidgets.demo.data import two
from lwidgets.noise import private_noise
from lwidgets.objective import Objective


class Attention(nn.Module):
    """Every token looks at every other, by several heads; queries, keys and values are one packed projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, tokens, width) to the same."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v)
        attended: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return attended


class Block(nn.Module):
    """Attention and a perceptron, each of which reads a norm of the stream and adds to the stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, tokens, width) to the same."""
        x = x + self.attention(self.norm1(x))
        read: Tensor = x + self.mlp(self.norm2(x))
        return read


class DigitsTransformer(nn.Module):
    """A vision transformer for images of 8x8 pixels: 16 patches of 2x2, learned positions, norms before what reads."""

    def __init__(self, width: int = 32, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Linear(4, width)
        self.position = nn.Parameter(0.1 * torch.randn(16, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Images of shape (N, 64) to scores of shape (N, 10)."""
        patches = images.reshape(-1, 4, 2, 4, 2).transpose(2, 3).flatten(3).flatten(1, 2)
        tokens = self.blocks(self.embed(patches) + self.position)
        scores: Tensor = self.head(self.norm(tokens).mean(dim=1))
        return scores


def digits_vit(
    seeds: tuple[int, int] = (0, 1), *, held_out: float = 0.2, steps: int = 900
) -> tuple[Objective, nn.Module, nn.Module]:
    """Two vision transformers trained on scikit-learn's digits from different seeds, and their objective.

    Width 32, two layers of four heads. Training is Adam at rate 3e-3, lowered to zero, on batches of 96 images; it
    takes about ten seconds a model, depends on the seed alone, and is done once a process: who asks again is given
    copies.

    Args:
        seeds: Of the initialisations and the order of the images.
        held_out: Share of the images kept for ``objective.test``; 0 puts all into the objective.
        steps: Of training.

    Returns:
        (objective, a, b): cross-entropy, with the error as second metric, of ``a``; models in eval mode.
    """
    return two(
        lambda images, labels, seed: train_transformer(images, labels, seed, steps),
        seeds,
        held_out,
        *("transformer", steps),
    )


def train_transformer(images: Tensor, labels: Tensor, seed: int, steps: int) -> nn.Module:
    """A `DigitsTransformer` trained on images; the global generator is left as it was found.

    Args:
        images: Float32 of shape (N, 64).
        labels: Int64 of shape (N,).
        seed: Of the initialisation and the order of the images.
        steps: Of Adam, on 96 images each.
    """
    with private_noise(seed), torch.enable_grad():
        model = DigitsTransformer()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            chosen = torch.randperm(len(images))[:96]
            optimizer.zero_grad()
            F.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()
