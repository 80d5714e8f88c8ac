"""Traced, folded and batched evaluation, against the user's own module with weights added up by hand."""

import copy
import gc
import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrizations, parametrize
from torch.utils._python_dispatch import TorchDispatchMode

import lwidgets as lw
from lwidgets.basis import Basis
from lwidgets.parameters import State
from lwidgets.sampling import traced as module_under_test
from lwidgets.sampling.traced import Programs, Traced
from lwidgets.sampling.tracing import Untraceable
from tests.models import CASES, MLP, at, named

PLENTY = 1e12  # bytes


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) / 2)


class Model(nn.Module):
    """A forward pass with parts of any kind: parameters, layers, plain tensors and lists as attributes."""

    def __init__(self, forward: Callable[[Any, Any], torch.Tensor], **parts: Any) -> None:
        super().__init__()
        self.function = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)

    def _apply(self, fn, recurse=True):
        for name, tensor in vars(self).items():
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                vars(self)[name] = fn(tensor)
        return super()._apply(fn, recurse)


@dataclass(frozen=True)
class Zoo:
    """How to make a model, its batches, its loss, and whether the loss calls the model."""

    make: Callable[[], nn.Module]
    batches: Any
    loss: Callable[..., Any] = F.cross_entropy
    by_model: bool = False
    folds: bool = True
    batched: bool = True


def labelled(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(*shape, generator=generator), torch.randint(0, 3, shape[:1], generator=generator)


def halves(data, *at):
    """Batches of different sizes."""
    cuts = [0, *at, len(data[0])]
    return [tuple(part[i:j] for part in data) for i, j in itertools.pairwise(cuts)]


ROWS, SIGNALS, IMAGES, SEQUENCES = labelled(7, 6), labelled(7, 4, 9), labelled(7, 2, 6, 6), labelled(4, 5, 8)
TOKENS = torch.tensor([[0, 3, 3, 9], [4, 4, 1, 0], [2, 8, 3, 5]]), torch.tensor([0, 2, 1])


def in_a_loop(m, x):
    rows = [sum(x[:, i] * m.w[i, j] for i in range(6)) + m.b[j] for j in range(3)]
    return torch.stack(rows, dim=1).tanh()


def with_views(m, x):
    y = x.reshape(-1, 2, 3).permute(1, 0, 2).flatten(1).reshape(-1, 6)
    return (y @ m.w.t().view(6, 3).transpose(0, 1).t()).relu() + m.b.expand(len(x), 3)


def in_place(m, x):
    h = m.a(x)
    h[:, 1:3] += 1
    h.clamp_(-1, 1)
    x[:, 0] = 0
    return m.h(h) + x[:, :3]


def affine_operations(m, x):
    pooled = F.avg_pool1d(m.w[None], 2, 2, count_include_pad=False)[0].sum()
    padded = F.pad(m.c, (0, 0, 1, len(x) - 2), value=3.0).roll(1, 0).flip(1)
    mixed = torch.cat([x[:, :1], m.c.expand(len(x), 3)[:, 1:]], dim=1)
    sums = (x @ m.w).cumsum(0) / len(x) + (x @ m.w).sum(0, dtype=torch.float64).to(x.dtype)
    return (
        torch.addmm(m.b, x, m.w, beta=0.3, alpha=2) + torch.add(m.c, m.b, alpha=-2) + padded + mixed + sums
    ) * pooled.sigmoid() + torch.rsub(m.c, 2.0) / (1 + x[:, :3].abs())


def products_of_affine_values(m, x):
    y = x @ m.w
    gram = torch.mv(m.w.t(), m.w[:, 1]) + torch.dot(m.w[:, 0], m.w[:, 0])
    return y * y + y @ m.v + torch.addmm(m.b, y, m.v) + y / (2 + y.abs()) + gram


def rounded(m, x):
    return torch.div(m.a(x), 0.3, rounding_mode="floor") + m.b(x) // 0.25 + (3 * m.b(x)).int() / 3 + m.a(x) % 0.2


def bits(m, x):
    return x @ (m.w.view(torch.int32 if m.w.element_size() == 4 else torch.int64) & ~255).view(m.w.dtype)


def normalised_twice(m, x):
    return m.head(m.norm(m.second(m.norm(m.first(x)).relu())).mean((2, 3)))


def spliced(m, x):
    y = m.conv(x)
    return m.head((m.norm(y) + y).relu().mean((2, 3)))


def kept(m, x):
    m.last = m.a(x)
    return m.h(m.last.tanh())


def cached(m, x):
    if m.cache is None or len(m.cache) != len(x):
        m.cache = torch.arange(len(x), dtype=x.dtype)[:, None] / 10
    return m.a(x) + m.cache


def clipped(m, x):
    with torch.no_grad():
        m.w.clamp_(-0.3, 0.3)
    return (x @ m.w).tanh() @ m.v


def cells(m, x):
    state = None
    for t in range(x.shape[1]):
        state = m.cell(x[:, t], state)
    return m.h(state[0])


def tied():
    model = Model(
        lambda m, x: F.linear(m.a(x).tanh(), m.b.weight.t()).tanh() @ m.h,
        a=nn.Linear(6, 5),
        b=nn.Linear(6, 5),
        h=weight(6, 3),
    )
    model.b.weight = model.a.weight
    return model


def with_buffers(persistent):
    def make():
        model = Model(lambda m, x: m.a((x - m.mean) / m.scale) * m.scale[0], a=nn.Linear(6, 3))
        model.register_buffer("mean", torch.randn(6), persistent=persistent)
        model.register_buffer("scale", torch.rand(6) + 0.5, persistent=persistent)
        return model

    return make


class Symmetric(nn.Module):
    def forward(self, w):
        return w.triu() + w.triu(1).T


def symmetric():
    layer = nn.Linear(6, 6)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(6, 3))


def old_weight_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and everywhere
        layer = nn.utils.weight_norm(nn.Linear(6, 5))
    layer.weight = layer.weight.detach()  # the one of its last pass could not be copied
    return nn.Sequential(layer, nn.ReLU(), nn.Linear(5, 3)).requires_grad_(False)


def residual(model, batch):
    x = batch.clone().requires_grad_(True)
    u = model(x)
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
    inside, edge = ((curvature + u) ** 2).mean(), (u[:1] - 1).pow(2).mean()
    return {"inside": inside, "loss": inside + edge}


def residual_by_functions(model, batch):
    def u(z):
        return model(z[None])[0, 0]

    slope = torch.func.vmap(torch.func.grad(u))(batch)
    return (slope**2).mean() + model(batch).mean()


def masked(model, batch):
    return (F.cross_entropy(model(batch["x"]), batch["y"], reduction="none") * batch["keep"]).mean()


def layers(*parts):
    return lambda: nn.Sequential(*(part() for part in parts))


def of(kind, *args, **kwargs):
    return lambda: kind(*args, **kwargs)


linear, tanh = of(nn.Linear, 6, 5), of(nn.Tanh)
end = of(nn.Linear, 5, 3)
wave = torch.linspace(0, 1, 8)[:, None]
pinn = layers(of(nn.Linear, 1, 5), tanh, of(nn.Linear, 5, 5), tanh, of(nn.Linear, 5, 1))

ZOO = {
    "functional": Zoo(
        lambda: Model(lambda m, x: F.linear(F.relu(x @ m.w + m.b), m.v), w=weight(6, 5), b=weight(5), v=weight(3, 5)),
        ROWS,
    ),
    "loops": Zoo(lambda: Model(in_a_loop, w=weight(6, 3), b=weight(3)), ROWS),
    "views": Zoo(lambda: Model(with_views, w=weight(3, 6), b=weight(1, 3)), ROWS),
    "conv1d": Zoo(
        layers(of(nn.Conv1d, 4, 6, 3, groups=2, dilation=2, stride=2), tanh, of(nn.Flatten), of(nn.Linear, 18, 3)),
        SIGNALS,
    ),
    "conv2d": Zoo(
        layers(
            of(nn.Conv2d, 2, 4, 3, groups=2, padding="same"),
            of(nn.AvgPool2d, 2, padding=1, count_include_pad=False),
            tanh,
            of(nn.Conv2d, 4, 3, 2, padding=1, padding_mode="reflect"),
            of(nn.MaxPool2d, 2),
            of(nn.Flatten),
            of(nn.Linear, 12, 3),
        ),
        IMAGES,
    ),
    "transposed conv": Zoo(
        layers(
            of(nn.ConvTranspose2d, 2, 4, 3, groups=2, stride=2, output_padding=1),
            of(nn.BatchNorm2d, 4),
            tanh,
            of(nn.AdaptiveAvgPool2d, 1),
            of(nn.Flatten),
            of(nn.Linear, 4, 3),
        ),
        IMAGES,
    ),
    "layer norm": Zoo(layers(linear, of(nn.LayerNorm, 5), of(nn.GELU), end), ROWS),
    "layer norm first": Zoo(layers(of(nn.LayerNorm, 6), linear, tanh, end), ROWS, folds=False),
    "group norm": Zoo(
        layers(of(nn.Conv2d, 2, 4, 3), of(nn.GroupNorm, 2, 4), tanh, of(nn.Flatten), of(nn.Linear, 64, 3)), IMAGES
    ),
    "instance norm": Zoo(
        layers(of(nn.Conv2d, 2, 4, 3), of(nn.InstanceNorm2d, 4), tanh, of(nn.Flatten), of(nn.Linear, 64, 3)), IMAGES
    ),
    "instance norm with statistics": Zoo(
        layers(
            of(nn.Conv2d, 2, 4, 3),
            of(nn.InstanceNorm2d, 4, affine=True, track_running_stats=True),
            tanh,
            of(nn.Flatten),
            of(nn.Linear, 64, 3),
        ),
        IMAGES,
    ),
    "embedding": Zoo(
        lambda: Model(lambda m, x: m.h(m.e(x).mean(1).tanh()), e=nn.Embedding(11, 4, padding_idx=3), h=nn.Linear(4, 3)),
        TOKENS,
    ),
    "embedding bag": Zoo(
        lambda: Model(lambda m, x: m.h(m.e(x)), e=nn.EmbeddingBag(11, 4, mode="max"), h=nn.Linear(4, 3)),
        TOKENS,
        folds=False,
        batched=False,
    ),
    "indexed table": Zoo(
        lambda: Model(
            lambda m, x: m.t[x].mean(1).tanh() @ m.w + m.t.gather(0, x)[:, :3].cumsum(1),
            t=weight(11, 4),
            w=weight(4, 3),
        ),
        TOKENS,
    ),
    "attention": Zoo(
        lambda: Model(
            lambda m, x: m.h(m.a(x, x, x)[0].mean(1)),
            a=nn.MultiheadAttention(8, 2, batch_first=True),
            h=nn.Linear(8, 3),
        ),
        SEQUENCES,
    ),
    "transformer layer": Zoo(
        layers(
            of(nn.TransformerEncoderLayer, 8, 2, 16, batch_first=True, dropout=0.1),
            of(nn.Flatten),
            of(nn.Linear, 40, 3),
        ),
        SEQUENCES,
        batched=False,
    ),
    "causal attention": Zoo(
        lambda: Model(
            lambda m, x: F.scaled_dot_product_attention(x @ m.q, x @ m.k, x @ m.v, is_causal=True).mean(1) @ m.h,
            **{name: weight(8, 8) for name in "qkv"},
            h=weight(8, 3),
        ),
        SEQUENCES,
    ),
    "gru": Zoo(
        lambda: Model(
            lambda m, x: m.h(m.r(x)[0][:, -1]), r=nn.GRU(8, 6, batch_first=True, bidirectional=True), h=nn.Linear(12, 3)
        ),
        SEQUENCES,
    ),
    "lstm": Zoo(
        lambda: Model(lambda m, x: m.h(m.r(x)[0][:, -1]), r=nn.LSTM(8, 4, 2, batch_first=True), h=nn.Linear(4, 3)),
        SEQUENCES,
        batched=False,  # in float32 it is one operation of oneDNN
    ),
    "lstm cells": Zoo(lambda: Model(cells, cell=nn.LSTMCell(8, 6), h=nn.Linear(6, 3)), SEQUENCES),
    "weight norm": Zoo(
        layers(lambda: parametrizations.weight_norm(linear()), tanh, end), ROWS, folds=False, batched=False
    ),
    "old weight norm": Zoo(old_weight_norm, ROWS, folds=False, batched=False),
    "spectral norm": Zoo(layers(lambda: parametrizations.spectral_norm(linear()), tanh, end), ROWS),
    "parametrized": Zoo(symmetric, ROWS, folds=False),
    "tied": Zoo(tied, ROWS),
    "in-place ReLU": Zoo(layers(linear, of(nn.ReLU, inplace=True), end), ROWS),
    "in place": Zoo(lambda: Model(in_place, a=nn.Linear(6, 5), h=nn.Linear(5, 3)), ROWS, batched=False),
    "dropout": Zoo(layers(linear, of(nn.Dropout, 0.5), tanh, end), ROWS),
    "buffers": Zoo(with_buffers(True), ROWS),
    "buffers that are not saved": Zoo(with_buffers(False), ROWS),
    "a plain tensor": Zoo(lambda: Model(lambda m, x: m.a(x) @ m.k, a=nn.Linear(6, 4), k=torch.ones(4, 3) / 3), ROWS),
    "equation": Zoo(pinn, wave, residual, by_model=True),
    "equation by functions": Zoo(pinn, wave, residual_by_functions, by_model=True),
    "autoencoder": Zoo(
        layers(of(nn.Linear, 6, 2), tanh, of(nn.Linear, 2, 6)),
        ROWS[0],
        lambda model, batch: F.mse_loss(model(batch), batch),
        by_model=True,
    ),
    "penalty": Zoo(
        linear,
        ROWS,
        lambda model, batch: (
            F.cross_entropy(model(batch[0]), batch[1]) + sum(p.pow(2).sum() for p in model.parameters()) / 9
        ),
        by_model=True,
    ),
    "dict": Zoo(linear, {"x": ROWS[0], "y": ROWS[1], "keep": ROWS[0][:, 0] > 0}, masked, by_model=True),
    "batches of several sizes": Zoo(layers(linear, tanh, end), halves(ROWS, 3, 6)),
    "one-hot": Zoo(
        lambda: Model(lambda m, x: m.h(F.one_hot(x, 11).to(m.h.weight.dtype).mean(1)), h=nn.Linear(11, 3)), TOKENS
    ),
    "empty tensors": Zoo(
        lambda: Model(lambda m, x: m.a(x) + m.z.sum() + (x[:0] @ m.w).sum(), a=linear(), z=weight(0), w=weight(6, 2)),
        ROWS,
    ),
    "scalar parameters": Zoo(
        lambda: Model(
            lambda m, x: m.a(x * m.s) * m.s / m.t.exp(),
            a=linear(),
            s=nn.Parameter(torch.tensor(1.5)),
            t=nn.Parameter(torch.tensor(0.5)),
        ),
        ROWS,
    ),
    "transposed memory": Zoo(lambda: Model(lambda m, x: x @ m.w.t(), w=nn.Parameter(torch.randn(6, 3).t())), ROWS),
    "overlapping windows": Zoo(
        lambda: Model(lambda m, x: x @ m.w.as_strided((6, 3), (1, 1)), w=weight(20)), ROWS, folds=False
    ),
    "complex numbers": Zoo(
        lambda: Model(
            lambda m, x: torch.fft.fft(m.a(x)).abs()[:, :3] + torch.view_as_complex(m.w.reshape(3, 2)).abs(),
            a=nn.Linear(6, 3),
            w=weight(6),
        ),
        ROWS,
    ),
    "affine operations": Zoo(lambda: Model(affine_operations, w=weight(6, 3), b=weight(3), c=weight(1, 3)), ROWS),
    "products of affine values": Zoo(
        lambda: Model(products_of_affine_values, w=weight(6, 3), b=weight(3), v=weight(3, 3)), ROWS
    ),
    "rounding": Zoo(lambda: Model(rounded, a=nn.Linear(6, 3), b=nn.Linear(6, 3)), ROWS),
    "bits": Zoo(lambda: Model(bits, w=weight(6, 3)), ROWS, folds=False),
    "choice by value": Zoo(
        lambda: Model(
            lambda m, x: torch.where(m.g(x) > 0, m.a(x), m.b(x)).topk(2, dim=1).values @ m.w,
            a=nn.Linear(6, 3),
            b=nn.Linear(6, 3),
            g=nn.Linear(6, 1),
            w=weight(2, 3),
        ),
        ROWS,
    ),
    "generated weights": Zoo(
        lambda: Model(lambda m, x: F.linear(x, m.h(m.z).view(3, 6)), h=nn.Linear(4, 18), z=weight(4)), ROWS, folds=False
    ),
    "einsum": Zoo(
        lambda: Model(
            lambda m, x: torch.einsum("ni,ijk,nk->nj", x, m.w, x).tanh() @ m.v, w=weight(6, 4, 6), v=weight(4, 3)
        ),
        ROWS,
    ),
    "activations kept": Zoo(lambda: Model(kept, a=nn.Linear(6, 4), h=nn.Linear(4, 3)), ROWS),
    "a cache": Zoo(lambda: Model(cached, a=nn.Linear(6, 3), cache=None), halves(ROWS, 3, 6)),
    "clipping itself": Zoo(lambda: Model(clipped, w=weight(6, 4), v=weight(4, 3)), ROWS, folds=False),
    "an affine loss": Zoo(of(nn.Linear, 6, 3), (ROWS[0], ROWS[0][:, :3]), lambda o, t: (o * t).mean()),
    "constant convolution": Zoo(
        lambda: Model(
            lambda m, x: m.h(m.norm(F.conv2d(x, m.k)).relu().mean((2, 3))),
            k=torch.ones(4, 2, 3, 3) / 9,
            norm=nn.BatchNorm2d(4),
            h=nn.Linear(4, 3),
        ),
        IMAGES,
    ),
}

conv, flat = of(nn.Conv2d, 2, 4, 3, groups=2), of(nn.Flatten)
NORMALISED = {
    "conv": layers(
        conv,
        of(nn.BatchNorm2d, 4),
        of(nn.ReLU),
        of(nn.Conv2d, 4, 3, 2),
        of(nn.BatchNorm2d, 3, eps=0.2),
        flat,
        of(nn.Linear, 27, 3),
    ),
    "conv without bias": layers(
        of(nn.Conv2d, 2, 4, 3, bias=False),
        of(nn.BatchNorm2d, 4, momentum=None),
        of(nn.ReLU),
        flat,
        of(nn.Linear, 64, 3),
    ),
    "conv without scale": layers(conv, of(nn.BatchNorm2d, 4, affine=False), of(nn.ReLU), flat, of(nn.Linear, 64, 3)),
    "transposed": layers(
        of(nn.ConvTranspose2d, 2, 4, 3), of(nn.BatchNorm2d, 4), of(nn.AdaptiveAvgPool2d, 1), flat, of(nn.Linear, 4, 3)
    ),
    "rows": layers(flat, of(nn.Linear, 72, 5), of(nn.BatchNorm1d, 5), tanh, end),
    "signals": layers(
        of(nn.Flatten, 2), of(nn.Conv1d, 2, 5, 3), of(nn.BatchNorm1d, 5), tanh, flat, of(nn.Linear, 170, 3)
    ),
    "first": layers(of(nn.BatchNorm2d, 2), flat, of(nn.Linear, 72, 3)),
    "used twice": lambda: Model(
        normalised_twice,
        first=nn.Conv2d(2, 4, 3),
        second=nn.Conv2d(4, 4, 3, padding=1),
        norm=nn.BatchNorm2d(4),
        head=nn.Linear(4, 3),
    ),
    "beside its input": lambda: Model(spliced, conv=nn.Conv2d(2, 4, 3), norm=nn.BatchNorm2d(4), head=nn.Linear(4, 3)),
    "one that is never used": lambda: Model(
        lambda m, x: m.head(m.norm(m.conv(x)).relu().mean((2, 3))),
        unused=nn.BatchNorm2d(3),
        conv=nn.Conv2d(2, 4, 3),
        norm=nn.BatchNorm2d(4),
        head=nn.Linear(4, 3),
    ),
    "without statistics": layers(
        conv, of(nn.BatchNorm2d, 4, track_running_stats=False), of(nn.ReLU), flat, of(nn.Linear, 64, 3)
    ),
}


def cast(data, dtype):
    if isinstance(data, torch.Tensor):
        return data.to(dtype) if data.is_floating_point() else data
    if isinstance(data, dict):
        return {key: cast(value, dtype) for key, value in data.items()}
    return type(data)(cast(value, dtype) for value in data)


def made(make, seed, dtype):
    """A model whose every parameter and statistic is away from its beginning."""
    torch.manual_seed(0)
    model = make().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator))
            if name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.3)
    return model.to(dtype)


def by_hand(model, batches, loss, by_model, mode="frozen"):
    """The loss by the user's own module, batch by batch."""
    model = copy.deepcopy(model).eval()
    batches = batches if isinstance(batches, list) else [batches]
    if mode == "recalibrate":
        torch.optim.swa_utils.update_bn([batch[0] for batch in batches], model)
        model.eval()
    if mode == "batch":
        for layer in model.modules():
            layer.train(isinstance(layer, _BatchNorm))
    total, samples = 0.0, 0
    for batch in batches:
        batch = copy.deepcopy(batch)
        value = loss(model, batch) if by_model else loss(model(batch[0]), batch[1])
        first = (
            batch
            if isinstance(batch, torch.Tensor)
            else next(iter(batch.values() if isinstance(batch, dict) else batch))
        )
        total += len(first) * (value["loss"] if isinstance(value, dict) else value).item()
        samples += len(first)
    return total / samples


def subspaces(models):
    """Vertices only, a vertex and directions, three vertices; the origin's model; coordinates inside and outside."""
    a, b, c = models
    rng = np.random.default_rng(0)
    yield lw.Line(a, b), a, np.array([[0.3], [1.4]])
    yield lw.Plane.random(b, (3, 4), zero_1d=False), b, np.array([[0.7, 0.0], [-0.3, 0.5]])
    yield lw.Plane.through(a, b, c), a, rng.uniform(-0.6, 1.3, (2, 2))


def points(subspace, origin, coordinates):
    """Models at the points, with the origin's buffers and what does not move."""
    basis = subspace.basis
    still = {name: tensor for name, tensor in named(origin).items() if name not in basis.names}
    for row in subspace.coefficients(coordinates):
        yield at(origin, [*zip(row, basis.vectors, strict=True), (1.0, still)])


class Ways:
    """The ways to compute an objective; traced once for each set of moving parameters."""

    def __init__(self, objective, mode=None):
        self.objective, self.mode, self.programs = objective, mode, {}

    def __call__(self, subspace, coordinates, kind):
        """First metric at some points."""
        bound = subspace.bound(self.objective.space)
        mode, moving = self.mode or self.objective.resolve(bound.between_models), bound.basis.moving
        programs = self.programs.setdefault((mode, moving), Programs(self.objective, mode, moving))
        traced = Traced(programs, bound.basis, fold=kind == "folded", memory=PLENTY)
        coefficients = bound.coefficients(coordinates)
        if kind == "batched":
            return traced.rows(coefficients)[:, 0]
        return np.array([traced.row(row)[0] for row in coefficients])


def values(objective, subspace, coordinates, kind, mode=None):
    return Ways(objective, mode)(subspace, coordinates, kind)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)], ids=["f64", "f32"])
@pytest.mark.parametrize("name", ZOO)
def test_every_strategy_is_the_users_module_with_weights_added_up_by_hand(name, dtype, tolerance):
    zoo = ZOO[name]
    models = [made(zoo.make, seed, dtype) for seed in (1, 2, 3)]
    data = cast(zoo.batches, dtype)
    objective = lw.Objective(models[0], data, loss=zoo.loss, batchnorm="frozen")
    ways, close = Ways(objective), {"rtol": tolerance, "atol": tolerance}
    for subspace, origin, coordinates in subspaces(models):
        expected = [by_hand(m, data, zoo.loss, zoo.by_model) for m in points(subspace, origin, coordinates)]
        for kind in ("traced", "folded", *["batched"] * zoo.batched):
            np.testing.assert_allclose(ways(subspace, coordinates, kind), expected, **close, err_msg=kind)
        again = [v["loss"] for v in loop(objective, subspace, coordinates)]  # nothing was left behind
        np.testing.assert_allclose(again, expected, **close)
    assert isinstance(objective.model_at(State.of(models[1])), nn.Module)


def loop(objective, subspace, coordinates):
    bound = subspace.bound(objective.space)
    mode = objective.resolve(bound.between_models)
    return objective.evaluate(bound.basis, bound.coefficients(coordinates), batchnorm=mode)


@pytest.mark.parametrize("name", ZOO)
def test_what_can_be_folded_is(name):
    zoo = ZOO[name]
    model = made(zoo.make, 1, torch.float64)
    objective = lw.Objective(model, cast(zoo.batches, torch.float64), loss=zoo.loss)
    bound = lw.Plane.random(model, zero_1d=False).bound(objective.space)
    programs = Programs(objective, objective.resolve(False), bound.basis.moving)
    assert Traced(programs, bound.basis, fold=True, memory=PLENTY).folds == zoo.folds


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("kind", ["traced", "folded", "batched"])
def test_every_strategy_on_the_shared_models(case, kind):
    if case.name == "transformer" and kind == "batched":
        pytest.skip("its attention has no batching rule on the CPU")
    models = [case.model(seed, torch.float64) for seed in range(3)]
    ways = Ways(case.objective(torch.float64, batchnorm="frozen"))
    for subspace, origin, coordinates in subspaces(models):
        expected = [case.plain_loss(m) for m in points(subspace, origin, coordinates)]
        np.testing.assert_allclose(ways(subspace, coordinates, kind), expected, rtol=1e-12)


@pytest.mark.parametrize("mode", ["frozen", "recalibrate", "batch"])
@pytest.mark.parametrize("name", NORMALISED)
def test_batch_norm_in_every_mode(name, mode):
    models = [made(NORMALISED[name], seed, torch.float64) for seed in (1, 2, 3)]
    data = halves(cast(IMAGES, torch.float64), 4)
    objective = lw.Objective(models[0], data, loss=F.cross_entropy, batchnorm=mode)
    mode = "batch" if name == "without statistics" else mode
    ways = Ways(objective, mode)
    for subspace, origin, coordinates in subspaces(models):
        expected = [by_hand(m, data, F.cross_entropy, False, mode) for m in points(subspace, origin, coordinates)]
        for kind in ("traced", "folded", "batched"):
            found = ways(subspace, coordinates, kind)
            np.testing.assert_allclose(found, expected, rtol=1e-11, err_msg=kind)


@pytest.mark.parametrize("params", ["*.bias", ["1.*", "4.*"], "6.*", "0.*", "3.weight", ["*", "!3.*"]])
@pytest.mark.parametrize("mode", ["frozen", "recalibrate", "batch"])
def test_batch_norm_where_only_some_parameters_move(params, mode):
    models = [made(NORMALISED["conv"], seed, torch.float64) for seed in (1, 2, 3)]
    data = halves(cast(IMAGES, torch.float64), 4)
    objective = lw.Objective(models[0], data, loss=F.cross_entropy, batchnorm=mode, params=params)
    ways = Ways(objective, mode)
    for subspace, _, coordinates in subspaces(models):
        bound = subspace.bound(objective.space)
        rows = list(objective.evaluate(bound.basis, bound.coefficients(coordinates), batchnorm=mode))
        for kind in ("traced", "folded", "batched"):
            found = ways(subspace, coordinates, kind)
            np.testing.assert_allclose(found, [row["loss"] for row in rows], rtol=1e-11, err_msg=kind)


def test_batch_norm_calls_are_counted_not_batches():
    """A layer called more often for longer sequences: torch's cumulative average weighs every call alike."""

    def steps(m, x):
        h = 0
        for t in range(x.shape[1]):
            h = m.norm(m.a(x[:, t]) + h)
        return m.h(h.tanh())

    def make():
        return Model(steps, a=nn.Linear(8, 4), norm=nn.BatchNorm1d(4), h=nn.Linear(4, 3))

    models = [made(make, seed, torch.float64) for seed in (1, 2, 3)]
    x, y = cast(SEQUENCES, torch.float64)
    data = [(x, y), (x[:3, :2], y[:3])]
    objective = lw.Objective(models[0], data, loss=F.cross_entropy, batchnorm="recalibrate")
    ways = Ways(objective)
    for subspace, origin, coordinates in subspaces(models):
        expected = [
            by_hand(m, data, F.cross_entropy, False, "recalibrate") for m in points(subspace, origin, coordinates)
        ]
        for kind in ("traced", "folded", "batched"):
            found = ways(subspace, coordinates, kind)
            np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_layer_that_only_a_metric_uses_keeps_the_statistics_it_was_reset_to():
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.norm, self.other = nn.Linear(6, 3), nn.BatchNorm1d(3), nn.BatchNorm1d(3)

        def forward(self, x):
            return self.norm(self.body(x))

    def second(model, batch):
        return F.cross_entropy(model.other(model.body(batch[0])), batch[1])

    models = [made(TwoHeads, seed, torch.float64) for seed in (1, 2)]
    data, line = halves(cast(ROWS, torch.float64), 4), lw.Line(*models)
    objective = lw.Objective(models[0], data, loss=F.cross_entropy, metrics={"second": second})
    (point,) = points(line, models[0], [[0.4]])
    point.other.reset_running_stats()
    bound = line.bound(objective.space)
    for fold in (True, False):
        programs = Programs(objective, "recalibrate", bound.basis.moving)
        traced = Traced(programs, bound.basis, fold=fold, memory=PLENTY)
        for found in (traced.row(line.coefficients([0.4])[0])[1], traced.rows(line.coefficients([0.4]))[0, 1]):
            assert found == pytest.approx(by_hand(point, data, second, True), rel=1e-12)


def test_what_a_model_keeps_of_a_trace_is_not_met_by_a_later_pass():
    """The cache fits the training data; for the test data it is made anew, first of all in a trace."""
    model = made(ZOO["a cache"].make, 1, torch.float64)
    train, test = halves(cast(ROWS, torch.float64), 4)
    objective, line = lw.Objective(model, train, loss=F.cross_entropy), lw.Line.random(model)
    other = objective.on(test)
    (found,) = values(other, line, [[0.3]], "traced")
    assert found == pytest.approx(next(loop(other, line, [[0.3]]))["loss"], rel=1e-13)
    assert other.model_at(line.point([0.3])).cache is not None


class NormAndReLU(nn.BatchNorm1d):
    def forward(self, x):
        return super().forward(x).relu()


@pytest.mark.parametrize("mode", ["recalibrate", "batch"])
def test_a_batch_norm_layer_with_a_forward_of_its_own_is_not_replaced(mode):
    model = made(layers(linear, of(NormAndReLU, 5), end), 1, torch.float64)
    objective = lw.Objective(model, cast(ROWS, torch.float64), loss=F.cross_entropy, batchnorm=mode)
    with pytest.raises(Untraceable, match="does more than normalise"):
        values(objective, lw.Line.random(model), [[0.5]], "traced", mode)
    assert values(objective, lw.Line.random(model), [[0.0]], "traced", "frozen")[0] == pytest.approx(
        objective.measure(model)["loss"], rel=1e-13
    )


def test_all_metrics_are_there_in_order_and_weighted_by_samples():
    models = [made(layers(linear, tanh, end), seed, torch.float64) for seed in (1, 2, 3)]
    data = halves(cast(ROWS, torch.float64), 4, 6)

    def loss(output, target):
        return {"norm": output.norm(), "loss": F.cross_entropy(output, target)}

    def confidence(model, batch):
        return model(batch[0]).softmax(1).max(1).values.mean()

    with pytest.warns(UserWarning, match="norm is no mean over samples"):
        objective = lw.Objective(
            models[0], data, loss=loss, metrics={"error": lw.metrics.error, "confidence": confidence}
        )
    for subspace, _, coordinates in subspaces(models):
        bound = subspace.bound(objective.space)
        coefficients = bound.coefficients(coordinates)
        rows = np.array([list(v.values()) for v in objective.evaluate(bound.basis, coefficients)])
        assert rows.shape == (2, 4)
        traced = Traced(Programs(objective, "none", bound.basis.moving), bound.basis, fold=True, memory=PLENTY)
        np.testing.assert_allclose([traced.row(c) for c in coefficients], rows, rtol=1e-12)
        np.testing.assert_allclose(traced.rows(coefficients), rows, rtol=1e-12)


UNTRACEABLE = {
    "a branch": lambda m, x: m.a(x) if m.a(x).sum() > 0 else m.b(x),
    "a number": lambda m, x: m.a(x) / m.a.weight.norm().item(),
    "a parameter in a list": lambda m, x: m.a(x) * sum(p.pow(2).sum() for p in m.parts),
    "a weight in a list": lambda m, x: x @ m.parts[0].T,
    "how many are active": lambda m, x: m.a(x) * len(m.a(x).argmax(1).unique()),
    "replacing its own weight": lambda m, x: (setattr(m.a.weight, "data", m.a.weight.data.clamp(-9, 9)), m.a(x))[1],
    "an array": lambda m, x: m.a(x) * float(np.linalg.norm(m.a.weight.detach().numpy())),
}


@pytest.mark.parametrize("name", UNTRACEABLE)
def test_what_is_not_a_function_of_the_named_tensors_is_refused_and_the_loop_goes_on(name):
    model = Model(UNTRACEABLE[name], a=nn.Linear(6, 3), b=nn.Linear(6, 3))
    model.parts = [model.a.weight]
    objective, line = lw.Objective(model, ROWS, loss=F.cross_entropy), lw.Line.random(model)
    before = [v["loss"] for v in loop(objective, line, [[0.4], [-0.3]])]
    for kind in ("traced", "folded", "batched"):
        with pytest.raises(Untraceable):
            values(objective, line, [[0.4]], kind)
    assert [v["loss"] for v in loop(objective, line, [[0.4], [-0.3]])] == before
    first, second = line.basis.vectors
    assert before[0] == pytest.approx(by_hand(at(model, [(1, first), (0.4, second)]), ROWS, F.cross_entropy, False))


def test_data_that_are_not_tensors_are_refused():
    model = nn.Linear(6, 3)
    data = [{"x": ROWS[0], "name": "rows"}]
    objective = lw.Objective(model, data, loss=lambda model, batch: model(batch["x"]).square().mean())
    with pytest.raises(Untraceable, match="not a tensor"):
        values(objective, lw.Line.random(model), [[0.4]], "traced")


def test_coefficients_that_need_not_sum_to_one_are_refused():
    model = nn.Linear(6, 3)
    objective = lw.Objective(model, ROWS, loss=F.cross_entropy)
    basis = Basis((named(model),), State.of(model))
    with pytest.raises(Untraceable, match="sum to one"):
        Traced(Programs(objective, "none", basis.moving), basis, fold=False, memory=PLENTY)


def test_folding_keeps_to_its_memory():
    model = nn.Linear(6, 3)
    objective, line = lw.Objective(model, ROWS, loss=F.cross_entropy), lw.Line.random(model)
    programs = Programs(objective, "none", line.basis.moving)
    parts = 2 * 7 * 3 * 4  # two vectors, an output for each sample, four bytes
    assert Traced(programs, line.basis, fold=True, memory=parts).folds
    with pytest.raises(Untraceable, match="free memory"):
        Traced(programs, line.basis, fold=True, memory=parts - 1)


def test_half_precision_is_combined_before_it_meets_the_data():
    model = made(layers(linear, tanh, end), 1, torch.bfloat16)
    data = cast(ROWS, torch.bfloat16)
    objective, plane = lw.Objective(model, data, loss=F.cross_entropy), lw.Plane.random(model)
    coordinates = [[0.3, -0.7], [0.11, 0.55]]
    expected = [v["loss"] for v in loop(objective, plane, coordinates)]
    np.testing.assert_array_equal(values(objective, plane, coordinates, "traced"), expected)
    np.testing.assert_allclose(values(objective, plane, coordinates, "batched"), expected, rtol=2**-6)
    with pytest.raises(Untraceable, match="half precision"):
        values(objective, plane, coordinates, "folded")


def test_half_precision_weights_of_many_points_are_those_of_one_to_the_last_bit():
    """Coefficients must not be rounded to bfloat16, whose 0.3 is 0.3008."""
    model = made(linear, 1, torch.bfloat16)
    total = lw.Objective(
        model, ROWS[0].bfloat16(), loss=lambda model, batch: sum(p.double().square().sum() for p in model.parameters())
    )
    plane = lw.Plane.random(model, zero_1d=False)
    coordinates = [[0.3, -0.7], [0.11, 0.55], [1 / 3, 1e-3]]
    expected = [v["loss"] for v in loop(total, plane, coordinates)]
    np.testing.assert_allclose(values(total, plane, coordinates, "batched"), expected, rtol=1e-3)
    np.testing.assert_array_equal(values(total, plane, coordinates, "traced"), expected)


def test_an_infinite_weight_counts_only_where_its_model_does():
    models = [made(linear, seed, torch.float64) for seed in (1, 2, 3)]
    with torch.no_grad():
        models[2].weight[0, 0] = torch.inf
    objective = lw.Objective(models[0], cast(ROWS, torch.float64), loss=F.cross_entropy)
    plane, coordinates = lw.Plane.through(*models), [[0.3, 0.0], [0.8, 0.0]]
    expected = [v["loss"] for v in loop(objective, plane, coordinates)]
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(values(objective, plane, coordinates, "traced"), expected, rtol=1e-13)
    for kind in ("folded", "batched"):
        with pytest.raises(Untraceable, match="not finite"):
            values(objective, plane, coordinates, kind)


def test_a_mask_of_minus_infinity_is_not_folded_into_nan():
    """Between two models the parts would do, beyond them 1.4 * -inf + -0.4 * -inf is nan."""
    mask = torch.tensor([0.0, 0.0, 0.0, -torch.inf])
    models = [
        made(lambda: Model(lambda m, x: m.a(x) + m.mask, a=nn.Linear(6, 4), mask=mask), s, torch.float32)
        for s in (1, 2)
    ]
    objective, line = lw.Objective(models[0], ROWS, loss=F.cross_entropy), lw.Line(*models)
    coordinates = [[0.4], [1.4]]
    expected = [v["loss"] for v in loop(objective, line, coordinates)]
    assert np.isfinite(expected).all()
    with pytest.raises(Untraceable, match="not finite"):
        values(objective, line, coordinates, "folded")
    np.testing.assert_allclose(values(objective, line, coordinates, "traced"), expected, rtol=1e-6)


def test_directions_stored_in_half_precision_are_those_that_the_loop_moves_along():
    model = made(layers(linear, tanh, end), 1, torch.float32)
    objective = lw.Objective(model, ROWS, loss=F.cross_entropy)
    plane = lw.Plane.random(model, zero_1d=False).stored(dtype=torch.bfloat16)
    coordinates = [[0.3, -0.7], [0.11, 0.55]]
    expected = [v["loss"] for v in loop(objective, plane, coordinates)]
    for kind in ("traced", "folded", "batched"):
        np.testing.assert_allclose(values(objective, plane, coordinates, kind), expected, rtol=1e-5)


def test_graphs_serve_every_basis_with_the_same_moving_names():
    """The origin's own fixed parameters and buffers count, not those that were there while tracing."""
    make = layers(linear, of(nn.BatchNorm1d, 5), tanh, end)
    models = [made(make, seed, torch.float64) for seed in (1, 2, 3)]
    data = cast(ROWS, torch.float64)
    objective = lw.Objective(models[0], data, loss=F.cross_entropy, params="3.*", batchnorm="frozen")
    programs = None
    for model in models:
        plane = lw.Plane.random(model, zero_1d=False).bound(objective.space)
        programs = programs or Programs(objective, "frozen", plane.basis.moving)
        (point,) = points(plane, model, [0.4, -0.3])
        for fold in (True, False):
            traced = Traced(programs, plane.basis, fold=fold, memory=PLENTY)
            found = traced.row(plane.coefficients([0.4, -0.3])[0])[0]
            assert found == pytest.approx(by_hand(point, data, F.cross_entropy, False), rel=1e-12)


def test_a_batch_shape_is_traced_once(monkeypatch):
    traced, calls = module_under_test.trace, []
    monkeypatch.setattr(module_under_test, "trace", lambda *a: calls.append(1) or traced(*a))
    model = made(layers(linear, tanh, end), 1, torch.float64)
    objective = lw.Objective(model, halves(cast(ROWS, torch.float64), 2, 4, 6), loss=F.cross_entropy)
    planes = [lw.Plane.random(model, (seed, seed + 1)) for seed in range(3)]
    programs = Programs(objective, "none", planes[0].basis.moving)
    for plane in planes:
        for fold in (True, False):
            Traced(programs, plane.basis, fold=fold, memory=PLENTY)
    assert len(calls) == 2  # batches of two, and the last one


def test_tracing_touches_neither_the_origin_nor_the_data_nor_the_users_module():
    model = made(ZOO["clipping itself"].make, 1, torch.float64)
    objective = lw.Objective(model, cast(ROWS, torch.float64), loss=F.cross_entropy)
    line = lw.Line.random(model, zero_1d=False)
    before = [t.clone() for v in line.basis.vectors for t in v.values()] + [
        t.clone() for t in objective.data.batches[0]
    ]
    weights, state = named(model), torch.get_rng_state()
    for kind in ("traced", "batched"):
        values(objective, line, [[0.4]], kind)
    after = [t for v in line.basis.vectors for t in v.values()] + list(objective.data.batches[0])
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(torch.equal(weights[name], p) for name, p in model.named_parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()


class Seen(TorchDispatchMode):
    """The operations that run, and something to be done after each."""

    def __init__(self, after=None):
        super().__init__()
        self.names, self.after = [], after

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.names.append(func._schema.name.removeprefix("aten::"))
        if self.after is not None:
            self.after()
        return result


def executed(objective, subspace, fold, mode="none"):
    """Names of the operations that one point takes."""
    bound = subspace.bound(objective.space)
    traced = Traced(Programs(objective, mode, bound.basis.moving), bound.basis, fold=fold, memory=PLENTY)
    c = bound.coefficients(np.full(len(bound.axes), 0.3))[0]
    traced.row(c)
    with Seen() as seen:
        traced.row(c)
    return seen.names


def test_layers_before_the_first_that_moves_are_computed_once():
    model = made(layers(linear, tanh, of(nn.Linear, 5, 5), tanh, end), 1, torch.float64)
    data = halves(cast(ROWS, torch.float64), 3)

    def counts(params, fold):
        objective = lw.Objective(model, data, loss=F.cross_entropy, params=params)
        names = executed(objective, lw.Plane.random(model, zero_1d=False), fold)
        return names.count("addmm"), names.count("tanh")

    assert counts("*", False) == (2 * 3, 2 * 2)
    assert counts("*", True) == (2 * 2, 2 * 2)
    assert counts("2.*", False) == (2 * 2, 2)
    assert counts("2.*", True) == (2, 2)
    assert counts("4.*", False) == (2, 0)
    assert counts("4.*", True) == (0, 0)
    assert counts("0.bias", True) == (2 * 2, 2 * 2)


def test_of_a_low_rank_update_only_what_depends_on_it_is_computed():
    def forward(m, x):
        return m.h((m.a(x) + x @ m.down @ m.up).tanh())

    model = made(
        lambda: Model(forward, a=nn.Linear(6, 5), down=weight(6, 2), up=weight(2, 5), h=nn.Linear(5, 3)),
        1,
        torch.float64,
    )
    data = cast(ROWS, torch.float64)
    objective = lw.Objective(model, data, loss=F.cross_entropy, params=["down", "up"])
    names = executed(objective, lw.Plane.random(model), True)
    assert (names.count("addmm"), names.count("mm")) == (1, 1)  # the head, and times `up`
    only_up = lw.Objective(model, data, loss=F.cross_entropy, params="up")
    names = executed(only_up, lw.Plane.random(model), True)
    assert (names.count("addmm"), names.count("mm")) == (1, 0)


def test_batch_norm_behind_a_convolution_is_no_pass_of_its_own():
    model = made(NORMALISED["conv"], 1, torch.float64)
    data = cast(IMAGES, torch.float64)
    for mode in ("frozen", "recalibrate"):
        objective = lw.Objective(model, data, loss=F.cross_entropy, batchnorm=mode)
        names = executed(objective, lw.Plane.random(model, zero_1d=False), False, mode)
        passes = [name for name in names if "batch_norm" in name]
        assert len(passes) == (1 if mode == "recalibrate" else 0)  # the second layer's statistics need the first


def test_of_a_large_model_one_weight_at_a_time_exists(monkeypatch):
    monkeypatch.setattr(module_under_test, "_HELD", 0)
    width, depth = 256, 8
    model = nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(depth)))
    each = 4 * width * width
    x = torch.randn(2, width)
    objective = lw.Objective(model, (x, x), loss=F.mse_loss)
    plane = lw.Plane.random(model).bound(objective.space)
    assert len(plane.basis.vectors) == 3  # they are made now, and do not count
    gc.collect()
    gc.freeze()
    try:
        traced = Traced(Programs(objective, "none", plane.basis.moving), plane.basis, fold=False, memory=PLENTY)
        sizes = []

        def note():
            tensors = (thing for thing in gc.get_objects() if type(thing) in (torch.Tensor, nn.Parameter))
            storages = {s.data_ptr(): s.nbytes() for s in (t.untyped_storage() for t in tensors)}
            sizes.append(sum(storages.values()))

        with Seen(note):
            value = traced.row(plane.coefficients([0.3, 0.4])[0])
    finally:
        gc.unfreeze()
    assert len(sizes) >= 2 * depth
    assert max(sizes) < 2.5 * each
    assert value[0] == pytest.approx(next(loop(objective, plane, [[0.3, 0.4]]))["loss"], rel=1e-5)


def test_weights_that_are_held_are_combined_once_for_all_batches():
    model = made(layers(linear, tanh, end), 1, torch.float64)
    plane = lw.Plane.random(model, zero_1d=False)

    def combinations(cuts):
        objective = lw.Objective(model, halves(cast(ROWS, torch.float64), *cuts), loss=F.cross_entropy)
        names = executed(objective, plane, False)
        return sum(name in ("add", "add_") for name in names) - len(cuts) - 1

    assert combinations([2]) == combinations([2, 4, 6])


def test_points_one_after_another_do_not_share_what_they_compute():
    models = [made(NORMALISED["conv"], seed, torch.float64) for seed in (1, 2)]
    data = halves(cast(IMAGES, torch.float64), 4)
    objective = lw.Objective(models[0], data, loss=F.cross_entropy, batchnorm="recalibrate")
    bound = lw.Line(*models).bound(objective.space)
    traced = Traced(Programs(objective, "recalibrate", bound.basis.moving), bound.basis, fold=True, memory=PLENTY)
    rows = bound.coefficients([[0.2], [0.9], [-0.4]])
    forth = [traced.row(row)[0] for row in rows]
    assert [traced.row(row)[0] for row in rows[::-1]] == forth[::-1]
    np.testing.assert_allclose(traced.rows(rows)[:, 0], forth, rtol=1e-12)
    assert len(set(forth)) == 3


def test_an_objective_on_other_data_recalibrates_on_the_first():
    models = [made(NORMALISED["conv"], seed, torch.float64) for seed in (1, 2)]
    train, test = halves(cast(IMAGES, torch.float64), 4)
    objective = lw.Objective(models[0], train, loss=F.cross_entropy, batchnorm="recalibrate", test=test)
    line, coordinates = lw.Line(*models), [[0.2], [0.7]]
    expected = [v["loss"] for v in loop(objective.test, line, coordinates)]
    for kind in ("traced", "folded", "batched"):
        np.testing.assert_allclose(values(objective.test, line, coordinates, kind), expected, rtol=1e-12)


def test_mlp_of_the_shared_models_folds_its_first_layer_only():
    names = executed(MLP.objective(), lw.Plane.random(MLP.model()), True)
    assert names.count("addmm") == 2
