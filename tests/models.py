"""Models and data that the tests share, and the slow, plain way to the same numbers.

`plain_loss` and `at` use the user's own module and nothing of lwidgets: a deep copy, tensors added by hand, a loop
over batches in float64.
"""

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lwidgets as lw


class ResidualCNN(nn.Module):
    """One residual block with BatchNorm, for 8x8 images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.stem(images)))
        x = F.relu(x + self.bn2(self.conv(x)))
        return self.head(x.mean(dim=(2, 3)))


class TinyTransformer(nn.Module):
    """One causal layer; the output projection is the embedding (tied), q, k and v are packed."""

    def __init__(self, tokens: int = 11, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.position = nn.Parameter(0.1 * torch.randn(16, width))
        self.layer = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.1, batch_first=True)
        self.output = nn.Linear(width, tokens, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, dtype=self.position.dtype)
        hidden = self.layer(self.embedding(tokens) + self.position[:length], src_mask=mask, is_causal=True)
        return self.output(hidden)


def next_token_loss(model: nn.Module, batch: Tensor) -> Tensor:
    scores = model(batch[:, :-1])
    return F.cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten())


@dataclass(frozen=True)
class Case:
    """An architecture, its data, and its loss in the form that is natural for it."""

    name: str
    make: Callable[[], nn.Module]
    data: Callable[[], Any]
    loss: Callable[..., Tensor]
    by_model: bool = False

    def model(self, seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
        """A fresh copy of a model trained for some steps, in eval mode."""
        return copy.deepcopy(_trained(self.name, seed)).to(dtype)

    def samples(self, dtype: torch.dtype = torch.float32) -> Any:
        """The data, floating-point parts in that dtype."""
        return _cast(self.data(), dtype)

    def objective(self, dtype: torch.dtype = torch.float32, **options: Any) -> lw.Objective:
        return lw.Objective(self.model(0, dtype), self.samples(dtype), loss=self.loss, **options)

    def batch_loss(self, model: nn.Module, batch: Any) -> Tensor:
        return self.loss(model, batch) if self.by_model else self.loss(model(batch[0]), batch[1])

    def plain_loss(self, model: nn.Module, data: Any = None) -> float:
        """The model's own loss on all data in one batch, in its own mode and dtype."""
        data = self.samples(next(model.parameters()).dtype) if data is None else data
        with torch.no_grad():
            return self.batch_loss(model, data).item()


def at(origin: nn.Module, terms: Sequence[tuple[float, Mapping[str, Tensor]]]) -> nn.Module:
    """A copy of the module whose parameters are sum c * tensors, added up in float64; a missing name is zero."""
    model = copy.deepcopy(origin)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            total = torch.zeros_like(parameter, dtype=torch.float64)
            for c, tensors in terms:
                if name in tensors:
                    total += c * tensors[name].detach().double()
            parameter.copy_(total)
    return model


def named(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def flat(tensors: Mapping[str, Tensor], names: Sequence[str] | None = None) -> np.ndarray:
    """Everything in one float64 vector."""
    return np.concatenate([tensors[n].detach().double().numpy().ravel() for n in (names or tensors)])


def everything_about(model: nn.Module) -> dict[str, Any]:
    """A record of all that an evaluation could disturb in a module."""
    return {
        "tensors": {name: t.clone() for name, t in [*model.named_parameters(), *model.named_buffers()]},
        "training": {name: part.training for name, part in model.named_modules()},
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "grad": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "storage": {name: p.data_ptr() for name, p in model.named_parameters()},
    }


def same(a: Any, b: Any) -> bool:
    """Equality that looks into dicts and compares tensors to the last bit."""
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    return bool(a == b)


def _classification(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(*shape, generator=generator)
    labels = (inputs.flatten(1)[:, :3]).argmax(dim=1)
    return inputs, labels


def _sentences() -> Tensor:
    start, step = torch.meshgrid(torch.arange(11), torch.arange(1, 4), indexing="ij")
    return (start.reshape(-1, 1) + step.reshape(-1, 1) * torch.arange(7)) % 11


def _cast(data: Any, dtype: torch.dtype) -> Any:
    if isinstance(data, tuple):
        return tuple(_cast(part, dtype) for part in data)
    return data.to(dtype) if data.is_floating_point() else data


def make_mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))


MLP = Case("mlp", make_mlp, lambda: _classification(41, 6), F.cross_entropy)
CNN = Case("cnn", ResidualCNN, lambda: _classification(26, 1, 8, 8), F.cross_entropy)
TRANSFORMER = Case("transformer", TinyTransformer, _sentences, next_token_loss, by_model=True)
CASES = (MLP, CNN, TRANSFORMER)


@functools.cache
def _trained(name: str, seed: int) -> nn.Module:
    case = next(c for c in CASES if c.name == name)
    data = case.samples()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = case.make().train()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(25):
            optimizer.zero_grad()
            case.batch_loss(model, data).backward()
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model.eval()
