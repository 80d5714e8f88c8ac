"""The models of the table, and how each is trained in seconds at the start of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.batchnorm import BatchNormMode

Data = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    """A row group of the table.

    Attributes:
        key: What ``--models`` calls it.
        title: What the table calls it.
        make: The untrained module.
        data: Inputs and labels, all of them one batch.
        steps: Of Adam at rate 1e-3 on batches of 128.
        batchnorm: Mode of BatchNorm at every point.
    """

    key: str
    title: str
    make: Callable[[], nn.Module]
    data: Callable[[], Data]
    steps: int
    batchnorm: BatchNormMode = "frozen"


@dataclass(frozen=True, eq=False)
class Problem:
    """A trained model in eval mode, its data, and the plane to draw; no tool changes any of it.

    Attributes:
        directions: The plane's two directions, a tensor for every parameter; zeros where nothing moves.
        batchnorm: As in `Case`.
    """

    model: nn.Module
    data: Data
    plane: lw.Subspace
    directions: tuple[dict[str, Tensor], dict[str, Tensor]]
    batchnorm: BatchNormMode
    seeds: tuple[int, int]

    @classmethod
    def of(cls, case: Case, model: nn.Module, seeds: tuple[int, int]) -> Problem:
        """The filter-normalised plane of these seeds around a model, where the model is."""
        device = next(model.parameters()).device
        plane = lw.Plane.random(model, seeds)
        _, *vectors = plane.basis.vectors
        x, y = ({name: v.get(name, torch.zeros_like(p)) for name, p in model.named_parameters()} for v in vectors)
        inputs, labels = case.data()
        return cls(model, (inputs.to(device), labels.to(device)), plane, (x, y), case.batchnorm, seeds)


def train(case: Case, device: str = "cpu") -> nn.Module:
    """The case's model, trained from seed 0, in eval mode."""
    torch.manual_seed(0)
    inputs, labels = (part.to(device) for part in case.data())
    model = case.make().to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(case.steps):
        batch = torch.randint(len(inputs), (128,), device=device)
        optimizer.zero_grad()
        F.cross_entropy(model(inputs[batch]), labels[batch]).backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


def mlp(*sizes: int) -> nn.Sequential:
    """ReLU between linear layers of these widths."""
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters: every second pixel, missing channels zero."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.stride, self.missing = after // before, after - before
        self.conv1 = nn.Conv2d(before, after, 3, stride=self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.missing:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.missing))
        return F.relu(inner + x)


def resnet20() -> nn.Sequential:
    """ResNet-20 for small grey images: 0.27 million parameters.

    Source: He et al. 2016, section 4.2, shortcut A.
    """
    widths = [16] * 4 + [32] * 3 + [64] * 3
    blocks = [Residual(a, b) for a, b in pairwise(widths)]
    stem = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Block(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """A vision transformer for 8x8 grey images in patches of 2x2, read out from the mean token."""

    def __init__(self, width: int = 64, depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(1, width, 2, stride=2)
        self.position = nn.Parameter(0.02 * torch.randn(16, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embedding(images).flatten(2).transpose(1, 2) + self.position
        return self.head(self.norm(self.blocks(tokens)).mean(dim=1))


def digits(count: int, *, flat: bool = False) -> Data:
    """The first of scikit-learn's digits, 1,797 at most."""
    images, labels = lw.demo.digits_data()
    images = images[:count]
    return (images if flat else images.reshape(-1, 1, 8, 8)), labels[:count]


def clusters(count: int = 2000, width: int = 784, classes: int = 10) -> Data:
    """Synthetic: a Gaussian cloud of width 4 around each of ten centres of length about sqrt(width)."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, width, generator=generator)
    return centres[labels] + 4 * torch.randn(count, width, generator=generator), labels


def cases(*, quick: bool = False) -> dict[str, Case]:
    """Every case by its key; ``quick`` has fewer examples."""
    few, all_of_them = (64, 128) if quick else (256, 1797)
    resnet = "ResNet-20, BatchNorm {}, {:,} digits"
    all_cases = (
        Case(
            "digits",
            "MLP 64-128-128-10, 1,797 digits",
            lambda: mlp(64, 128, 128, 10),
            lambda: digits(1797, flat=True),
            300,
        ),
        Case(
            "mlp",
            f"MLP 784-512-512-512-10, {200 if quick else 2000:,} synthetic",
            lambda: mlp(784, 512, 512, 512, 10),
            lambda: clusters(200 if quick else 2000),
            60,
        ),
        Case("resnet", resnet.format("frozen", all_of_them), resnet20, lambda: digits(all_of_them), 100),
        Case("recalibrated", resnet.format("recalibrated", few), resnet20, lambda: digits(few), 100, "recalibrate"),
        Case("vit", f"ViT 64x4, patches 2x2, {few} digits", ViT, lambda: digits(few), 200),
    )
    return {case.key: case for case in all_cases}
