"""Graphs are of what was computed, whatever it wrote into; they belong to one thread; and they fail where it fails."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils import _python_dispatch

import lwidgets as lw
from lwidgets.modes import ThreadMode
from lwidgets.sampling.evaluate import Local, plans_of
from lwidgets.sampling.tracing import Untraceable, trace

ROOT = Path(__file__).parents[2]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def through_a_transpose(w):
    w = w.clone()
    w.t()[0] *= 3
    return w


def through_a_permuted_slice(w):
    w = w.reshape(2, 3, 2).clone()
    w.permute(2, 0, 1)[1, :, ::2].add_(5)
    return w


def through_a_part_of_a_split(w):
    w = w.clone()
    for i, part in enumerate(w.split([1, 2, 1])):
        part.mul_(i)
    return w


def through_a_chunk_and_an_unbound_row(w):
    w = w.clone()
    w.chunk(2)[1].neg_()
    w.unbind(1)[2].fill_(7)
    return w


def through_a_diagonal(w):
    w = w[:, :3].clone()
    w.diagonal().zero_()
    return w


def a_view_made_before_sees_it(w):
    w = w.clone()
    row = w[1]
    w.mul_(2)
    return row + w.view(-1)[0]


def the_base_sees_what_a_view_of_a_view_was_given(w):
    w = w.clone()
    w[1:].view(-1)[2:4] = torch.tensor([8.0, 9.0], dtype=w.dtype)
    return w.sum(0)


def a_factory_is_filled(w):
    out = torch.zeros(4, 3, dtype=w.dtype)
    for i in range(4):
        out[i] = w[i] * i
    return out


def a_mask_chooses_what_is_written(w):
    w = w.clone()
    w[w > 0] = 0.5
    return w.masked_fill_(w < -1, -1.0)


def an_index_is_written(w):
    w = w.clone()
    w[torch.tensor([0, 2]), torch.tensor([1, 1])] += 2
    return w.scatter_add_(0, torch.zeros(1, 3, dtype=torch.int64), w[:1].clone())


def an_out_argument(w):
    out = torch.empty_like(w)
    torch.add(w, 1, out=out)
    return out


def its_shape_is_changed_in_place(w):
    return (w.clone().unsqueeze_(0) * 2).squeeze_(0).t_()


def half_of_it_is_rounded(w):
    w = w.clone()
    w[:2].copy_(w[:2].to(torch.bfloat16))
    return w


def its_own_data_are_clipped(w):
    w.data.clamp_(-0.5, 0.5)
    return w * 2


WRITES = [
    through_a_transpose,
    through_a_permuted_slice,
    through_a_part_of_a_split,
    through_a_chunk_and_an_unbound_row,
    through_a_diagonal,
    a_view_made_before_sees_it,
    the_base_sees_what_a_view_of_a_view_was_given,
    a_factory_is_filled,
    a_mask_chooses_what_is_written,
    an_index_is_written,
    an_out_argument,
    its_shape_is_changed_in_place,
    half_of_it_is_rounded,
    its_own_data_are_clipped,
]


@pytest.mark.parametrize("function", WRITES, ids=lambda f: f.__name__)
def test_what_is_written_in_place_is_in_the_graph_and_nothing_is_written(function):
    w = draw(4, 3)
    graph = trace(function, [w])
    assert torch.equal(w, draw(4, 3))
    for seed in (0, 1, 2):
        other = draw(4, 3, seed=seed)
        for _ in range(2):  # nor is anything kept from one run to the next
            assert torch.equal(graph(other), function(draw(4, 3, seed=seed)))
        assert torch.equal(other, draw(4, 3, seed=seed))
    ops = [node.target for node in graph.graph.nodes if node.op == "call_function"]
    assert not any(getattr(op, "_schema", None) is not None and op._schema.is_mutable for op in ops)


def test_a_tensor_that_the_code_keeps_is_not_written_to():
    kept = torch.zeros(3, dtype=torch.float64)

    def function(w):
        kept.add_(1)
        return w + kept

    with pytest.raises(Untraceable, match="writes into a tensor that it keeps"):
        trace(function, [draw(3)])
    assert torch.equal(kept, torch.zeros(3, dtype=torch.float64))


def test_bits_that_are_written_are_refused():
    def function(w):
        w = w.clone()
        w.view(torch.int64)[0] ^= 1
        return w

    with pytest.raises(Untraceable):
        trace(function, [draw(4)])


def swallowing(attempt):
    def function(w):
        try:
            return attempt(w)
        except Exception:
            return w * 100

    return function


SWALLOWED = {
    "a branch": lambda w: w if w.sum() > 0 else -w,
    "an array": lambda w: w * float(w.numpy().sum()),
    "a list": lambda w: w * w.tolist()[0][0],
    "a number": lambda w: w * w[0, 0].item(),
    "a shape that does not fit": lambda w: w @ w,
    "a copy of its memory": lambda w: w * torch.tensor([w[0, 0], w[0, 1], w[0, 2]]),
}


@pytest.mark.parametrize("name", SWALLOWED)
def test_a_failure_that_the_code_catches_is_no_branch_of_the_graph(name):
    with pytest.raises(Untraceable):
        trace(swallowing(SWALLOWED[name]), [draw(4, 3)])


class Asks(nn.Module):
    """A model that goes by whether an operation fails, and has no other use for it."""

    def __init__(self, attempt):
        super().__init__()
        self.w, self.attempt = nn.Parameter(torch.eye(3) * 0.7), attempt

    def forward(self, x):
        z = x @ self.w
        try:
            self.attempt(z)
        except Exception:
            return torch.full((len(x),), 10.0)
        return z.sum(1)


ATTEMPTS = {
    "a Cholesky factor": lambda z: torch.linalg.cholesky(12 * torch.eye(3) - 0.15 * z.T @ z),
    "an inverse": lambda z: torch.linalg.inv(torch.floor(z.T @ z / 40)),
    "a solution": lambda z: torch.linalg.solve(torch.floor(z.T @ z / 40), torch.ones(3)),
    "a probability": lambda z: F.binary_cross_entropy(z.abs().mean(0) / 1.2, torch.ones(3)),
    "a class": lambda z: F.cross_entropy(z, z[:, 0].abs().mul(1.2).long()),
    "a place": lambda z: torch.arange(3.0)[z.abs().amax(0).long()],
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_where_an_operation_fails_the_other_branch_is_taken(name):
    x, y = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(40)
    model = Asks(ATTEMPTS[name])
    objective = lw.Objective(model, (x, y), loss=F.mse_loss)
    plane = lw.Plane.random(model, (0, 1), span=2.0).bound(objective.space)
    points = np.random.default_rng(0).uniform(-2, 2, (60, 2))
    rows = plane.coefficients(points)
    right = np.array([next(objective.evaluate(plane.basis, [row]))["loss"] for row in rows])
    assert 5 < (right == 100).sum() < 55, "both branches are met"
    for chosen in (None, "loop"):
        plans_of(objective).clear()
        found = np.ravel(list(Local(objective, plane.basis, "none", strategy=chosen)(rows)))
        np.testing.assert_allclose(found, right, rtol=1e-5)
    local = Local(objective, plane.basis, "none")  # a graph, even where it is verified on one branch only
    local.plan.verified.update(("traced", "folded", "batched"))
    np.testing.assert_allclose(np.ravel(list(local(rows))), right, rtol=1e-5)


def test_a_mode_of_one_thread_sets_nothing_that_others_see():
    class Counting(ThreadMode):
        seen = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.seen += 1
            return func(*args, **(kwargs or {}))

    flags = lambda: [  # noqa: E731
        _python_dispatch._is_in_torch_dispatch_mode,
        _python_dispatch._is_in_non_infra_torch_dispatch_mode,
        _python_dispatch._is_in_any_mode_without_ignore_compile_internals,
    ]
    before = flags()
    with Counting() as mode:
        torch.ones(2) + 1
        inside = flags()
        others = []
        thread = threading.Thread(target=lambda: others.append((torch.ones(2) * 3).sum().item()))
        thread.start()
        thread.join()
        seen = mode.seen
    assert seen == 2
    assert others == [6.0]
    assert inside == before == flags()


IMPORTS = """
import sys, threading, torch, lwidgets as lw
from torch import nn
from torch.nn import functional as F
from lwidgets.sampling import evaluate
evaluate._WORTH = 0.0
model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 3))
data = torch.randn(20, 1, 8, 8), torch.arange(20) % 3
objective = lw.Objective(model, data, loss=F.cross_entropy, metrics={"error": lw.metrics.error})
before = set(sys.modules)
found = []
def work():
    for seed in range(3):
        found.append(lw.sample(objective, lw.Plane.random(model, (seed, 9)), resolution=9, tolerance=0, cache=False))
thread = threading.Thread(target=work)
thread.start()
thread.join()
used = {name.partition(",")[0] for each in found for name in each.provenance["sampling"]["strategies"]}
print(sorted(used), "torch._dynamo" in sys.modules, sorted(m for m in set(sys.modules) - before if "torch" in m))
"""


def test_a_picture_that_is_traced_imports_nothing_of_torch():
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["['batched',", "'folded',", "'loop',", "'traced']", "False", "[]"]


def test_compiled_training_goes_on_beside_graphs_that_are_traced():
    """The flags of torch.fx are the process's; a compiled function refuses to run while one is set."""
    w, x = draw(5, 5), draw(7, 5)
    fast = torch.compile(lambda a: torch.tanh(a) @ w, backend="eager")
    fast(x)
    stop, failures, traced = threading.Event(), [], []

    def work():
        while not stop.is_set():
            traced.append(trace(lambda a: (a @ w).relu_().sum(), [x]))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        while len(traced) < 100:
            try:
                torch.testing.assert_close(fast(x), torch.tanh(x) @ w)
            except RuntimeError as error:
                failures.append(error)
                break
    finally:
        stop.set()
        thread.join()
    assert failures == []
