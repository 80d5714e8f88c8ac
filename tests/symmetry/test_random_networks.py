"""Random elements leave random networks as they are: what no example thought of."""

import math
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from lwidgets.symmetry import Level, derive

BATCH = 5
Step = Callable[["Network", list[Tensor]], Tensor]


class Network(nn.Module):
    """Starts from one (5, 6) tensor and makes new ones of (5, 4), (5, 6) or (5, 12) from earlier ones."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.weights = nn.ParameterList()
        self.steps: list[Step] = []
        self.names: list[str] = []
        widths = [6]
        for _ in range(self.random.randint(3, 14)):
            name = self.random.choice(list(STEPS))
            i = self.random.randrange(max(0, len(widths) - 4), len(widths))
            alike = [j for j, width in enumerate(widths) if width == widths[i]]
            j, k = self.random.choice(alike), self.random.choice(alike)
            made = STEPS[name](self, widths[i], i, j, k)
            if made is not None:
                widths.append(made[0])
                self.steps.append(made[1])
                self.names.append(name)
        self.read = [(-1, self.weight(widths[-1], 3))]
        self.read += [(j, self.weight(n, 3)) for j, n in enumerate(widths) if j and self.random.random() < 0.15]

    def weight(self, *shape: int) -> int:
        self.weights.append(nn.Parameter(torch.randn(*shape) / math.sqrt(shape[-1])))
        return len(self.weights) - 1

    def forward(self, x: Tensor) -> Tensor:
        pool = [x]
        for step in self.steps:
            pool.append(step(self, pool))
        return torch.stack([torch.tanh(pool[j]) @ self.weights[w] for j, w in self.read]).sum(0)


STEPS: dict[str, Callable[..., tuple[int, Step] | None]] = {}


def step(function):
    STEPS[function.__name__] = function
    return function


ONE = (torch.relu, torch.tanh, torch.sigmoid, torch.neg, torch.square, torch.abs, torch.sin, F.gelu, F.normalize)
ONE += (lambda x: 2 * x, lambda x: x + 1, lambda x: x.softmax(-1), lambda x: x.cumsum(-1), lambda x: x.flip(1))
ONE += (lambda x: x.sort(-1).values, lambda x: x - x.mean(-1, keepdim=True), lambda x: F.rms_norm(x, x.shape[1:]))
TWO = (torch.add, torch.sub, torch.mul, torch.maximum, lambda a, b: a / (1 + b * b), lambda a, b: a * b.sigmoid())
TWO += (lambda a, b: torch.where(a > 0, a, b), lambda a, b: torch.where(a[:, :1] > 0, a, b))
FEW = (lambda x: x.sum(-1, keepdim=True), lambda x: x.norm(dim=-1, keepdim=True), lambda x: x[:, :1])
FEW += (lambda x: x.amax(-1, keepdim=True),)
STACKED = (lambda x: x[0], lambda x: x.unbind(0)[1], lambda x: x.sum(0), lambda x: torch.tanh(x)[1])


@step
def one(net, n, i, j, k):
    function = net.random.choice(ONE)
    return n, lambda net, pool: function(pool[i])


@step
def two(net, n, i, j, k):
    function = net.random.choice(TWO)
    return n, lambda net, pool: function(pool[i], pool[j])


@step
def linear(net, n, i, j, k):
    m = net.random.choice([4, 6, 12])
    w, b = net.weight(m, n), net.weight(m)
    return m, lambda net, pool: F.linear(pool[i], net.weights[w], net.weights[b])


@step
def linear_without_bias(net, n, i, j, k):
    m = net.random.choice([4, 6, 12])
    w = net.weight(m, n)
    return m, lambda net, pool: pool[i] @ net.weights[w].T


@step
def tied(net, n, i, j, k):
    fit = [w for w, weight in enumerate(net.weights) if weight.ndim == 2 and len(weight) == n]
    if not fit:
        return None
    w = net.random.choice(fit)
    return net.weights[w].shape[1], lambda net, pool: pool[i] @ net.weights[w]


@step
def scaled(net, n, i, j, k):
    w = net.weight(net.random.choice([1, n]))
    return n, lambda net, pool: pool[i] * net.weights[w]


@step
def layer_norm(net, n, i, j, k):
    w = net.weight(n)
    return n, lambda net, pool: F.layer_norm(pool[i], (n,), net.weights[w])


@step
def shuffle(net, n, i, j, k):
    groups = net.random.choice([2] if n == 4 else [2, 3])
    return n, lambda net, pool: pool[i].view(BATCH, groups, -1).transpose(1, 2).reshape(BATCH, n)


@step
def halves(net, n, i, j, k):
    return n, lambda net, pool: torch.cat(pool[i].chunk(2, 1)[::-1], 1)


@step
def part(net, n, i, j, k):
    start = net.random.choice([0, 3, 6])
    return None if n != 12 else (6, lambda net, pool: pool[i][:, start : start + 6])


@step
def twice(net, n, i, j, k):
    function = net.random.choice([lambda x: x.repeat(1, 2), lambda x: torch.cat([x, torch.relu(x)], 1)])
    return None if n != 6 else (12, lambda net, pool: function(pool[i]))


@step
def padded(net, n, i, j, k):
    return None if n != 4 else (6, lambda net, pool: F.pad(pool[i], (1, 1)))


@step
def spread(net, n, i, j, k):
    function, few = net.random.choice([torch.add, torch.mul]), net.random.choice(FEW)
    return n, lambda net, pool: function(pool[i], torch.tanh(few(pool[j])))


@step
def stacked(net, n, i, j, k):
    function = net.random.choice(STACKED)
    return n, lambda net, pool: function(torch.stack([pool[i], pool[j]]))


@step
def heads(net, n, i, j, k):
    def attend(net, pool):
        q, key, v = (pool[t].view(BATCH, 2, -1).transpose(0, 1) for t in (i, j, k))
        return ((q @ key.mT).softmax(-1) @ v).transpose(0, 1).reshape(BATCH, n)

    return n, attend


@step
def packed(net, n, i, j, k):
    scale = net.weight(4) if net.random.random() < 0.3 else None
    keys = net.random.random() < 0.6

    def attend(net, pool):
        h = pool[i].view(BATCH, 3, 2, 2)
        h = h if scale is None else h * net.weights[scale].view(2, 2)
        a, b, c = h.permute(1, 2, 0, 3).unbind(0)
        mixed = (a @ b.mT).softmax(-1) @ c if keys else a * b + c
        return mixed.transpose(0, 1).reshape(BATCH, 4)

    return None if n != 12 else (4, attend)


@step
def gram(net, n, i, j, k):
    return n, lambda net, pool: ((pool[i].T @ pool[i]).softmax(-1) @ pool[i].T).T


@step
def grouped(net, n, i, j, k):
    w = net.weight(n, n // 2, 1)
    return n, lambda net, pool: F.conv1d(pool[i][:, :, None], net.weights[w], groups=2)[:, :, 0]


@step
def weights_per_head(net, n, i, j, k):
    w = net.weight(2, n // 2, 3)
    return 6, lambda net, pool: torch.einsum("bhd,hde->bhe", pool[i].view(BATCH, 2, -1), net.weights[w]).reshape(
        BATCH, 6
    )


@step
def written(net, n, i, j, k):
    def write(net, pool):
        made = torch.zeros_like(pool[i])
        made[1:], made[0] = pool[i][1:], pool[j][0]
        made[2].mul_(2.0)
        return made

    return n, write


@pytest.mark.parametrize("start", range(0, 600, 60))
def test_random_elements_leave_random_networks_as_they_are(start):
    free = 0
    for seed in range(start, start + 60):
        torch.manual_seed(seed)
        network, x = Network(seed), torch.randn(BATCH, 6)
        spec = derive(network, x, certify=False)
        network = network.double()
        point = {n: p.detach() + 0.1 * torch.randn_like(p) for n, p in network.named_parameters()}
        with torch.no_grad():
            before = functional_call(network, point, (x.double(),))
            for draw in range(2):
                moved = spec.apply(spec.random(draw), point)
                after = functional_call(network, moved.parameters, (x.double(),))
                assert (after - before).abs().max() <= 1e-9 * before.abs().max(), (seed, network.names, spec.table())
        free += any(group.level is not Level.FIXED for group in spec.groups.values())
    assert free > 20  # a spec without groups is right, and says nothing
