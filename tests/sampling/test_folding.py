"""Graphs and their splits, against the function itself at combinations of its arguments."""

import copy
import threading

import pytest
import torch
from torch import nn
from torch.fx import GraphModule
from torch.nn import functional as F

from lwidgets.sampling.folding import Split, fuse_batchnorm, split
from lwidgets.sampling.tracing import Untraceable, trace

VERTEX_COEFFICIENTS = (0.4, -0.7, 1.3)  # they sum to one


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def operations(graph: GraphModule):
    return [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]


def name_of(operation):
    """mm of aten.mm.default."""
    return operation.removeprefix("aten.").split(".")[0]


VIEWS = ("reshape", "slice", "expand", "unsqueeze", "permute", "transpose", "t", "select", "split_with_sizes", "unbind")
VIEWS += ("split", "<built-in function getitem>")


def at_a_point(parts: Split, vertices, fixed):
    """The function at sum c_k V_k, by its three parts."""
    constants = parts.fixed(*fixed)
    values = [parts.affine(*constants, *vertex) for vertex in vertices]
    folded = [sum(c * v for c, v in zip(VERTEX_COEFFICIENTS, f, strict=True)) for f in zip(*values, strict=True)]
    direct = [sum(c * v[i] for c, v in zip(VERTEX_COEFFICIENTS, vertices, strict=True)) for i in parts.direct]
    (result,) = parts.rest(*constants, *folded, *direct)
    return result


def split_of(function, vertices, fixed, fold=True):
    graph = trace(function, [*vertices[0], *fixed])
    return split(graph, ["affine"] * len(vertices[0]) + ["fixed"] * len(fixed), fold=fold)


def check(function, shapes, fixed=(), fold=True):
    """Split the function, which must be right at a combination of three sets of weights."""
    vertices = [[draw(*shape, seed=10 * k + i) for i, shape in enumerate(shapes)] for k in range(3)]
    parts = split_of(function, vertices, fixed, fold)
    point = [sum(c * v for c, v in zip(VERTEX_COEFFICIENTS, w, strict=True)) for w in zip(*vertices, strict=True)]
    torch.testing.assert_close(at_a_point(parts, vertices, fixed), function(*point, *fixed), rtol=1e-12, atol=1e-12)
    return parts


X, B = draw(5, 4, seed=90), draw(5, 3, seed=91)
SIGNAL, IMAGE = draw(2, 4, 9, seed=92), draw(2, 4, 6, 6, seed=93)
INDEX = torch.tensor([[2, 0, 1], [3, 3, 0]])

AFFINE = {  # name: (function of one weight, its shape); what comes out is affine in the weight
    "mm": (lambda w: X @ w, (4, 3)),
    "mm on the left": (lambda w: w @ X.T, (3, 4)),
    "mv": (lambda w: torch.mv(X, w), (4,)),
    "dot": (lambda w: torch.dot(X[0], w), (4,)),
    "bmm": (lambda w: torch.bmm(SIGNAL, w), (2, 9, 3)),
    "addmm with beta and alpha": (lambda w: torch.addmm(B, X, w, beta=0.3, alpha=2.0), (4, 3)),
    "addmm with the weight as bias": (lambda w: torch.addmm(w, X, X.T[:, :3], beta=0.3), (3,)),
    "addmv": (lambda w: torch.addmv(B[:, 0], X, w, alpha=-1), (4,)),
    "baddbmm": (lambda w: torch.baddbmm(w, SIGNAL, SIGNAL.mT, beta=0.5), (2, 4, 4)),
    "linear": (lambda w: F.linear(X, w, B[0]), (3, 4)),
    "conv1d, grouped, dilated": (lambda w: F.conv1d(SIGNAL, w, None, 2, 3, 2, groups=2), (4, 2, 3)),
    "conv2d of the weight as data": (lambda w: F.conv2d(w, IMAGE), (1, 4, 7, 7)),
    "transposed conv": (lambda w: F.conv_transpose2d(IMAGE, w, B[0, :2], stride=2), (4, 2, 3, 3)),
    "embedding": (lambda w: F.embedding(INDEX, w, padding_idx=0), (4, 3)),
    "index": (lambda w: w[INDEX], (4, 3)),
    "index of some axes": (lambda w: w[:, INDEX, 1], (3, 4, 2)),
    "gather": (lambda w: w.gather(0, INDEX), (4, 3)),
    "index_select": (lambda w: w.index_select(1, INDEX[0]), (3, 4)),
    "mul by the data": (lambda w: w * X, (4,)),
    "mul by a number": (lambda w: 3 * w, (2, 3)),
    "div by the data": (lambda w: w / (2 + X.abs()), (4,)),
    "add with alpha": (lambda w: torch.add(X, w, alpha=-2.5), (4,)),
    "rsub": (lambda w: torch.rsub(w, 2.0), (4,)),
    "neg": (lambda w: -w, (4,)),
    "cat with the data": (lambda w: torch.cat([X, w, 2 * w]), (2, 4)),
    "stack with the data": (lambda w: torch.stack([X[0], w], dim=1), (4,)),
    "pad with a value": (lambda w: F.pad(w, (1, 2), value=3.0), (2, 4)),
    "mean and sum": (lambda w: w.mean(0, dtype=torch.float64) - w.sum(1, keepdim=True) + w.mean(), (4, 4)),
    "cumsum, flip, roll, repeat": (lambda w: w.cumsum(0).flip(1).roll(2, 0).repeat(2, 1), (3, 4)),
    "avg_pool2d without the padding": (
        lambda w: F.avg_pool2d(w[None], 3, 2, padding=1, count_include_pad=False),
        (2, 6, 5),
    ),
    "avg_pool1d with another divisor": (lambda w: F.avg_pool2d(w[None], 2, divisor_override=3), (2, 6, 5)),
    "adaptive pool": (lambda w: F.adaptive_avg_pool2d(w[None], 2), (2, 6, 5)),
    "views of a product": (lambda w: (X @ w).T.reshape(-1)[2:].unsqueeze(0).expand(2, -1).unflatten(0, (1, 2)), (4, 3)),
    "pieces of a product": (lambda w: (X @ w).split([1, 2], dim=1)[1] + (X @ w).unbind(1)[0][:, None], (4, 3)),
    "batch norm with given statistics": (
        lambda w: F.batch_norm(F.linear(X, w), B[0], B[1].abs(), B[2], B[3]),
        (3, 4),
    ),
    "two products in turn": (lambda w: ((X @ w) @ B.T + 1).sum(dim=0) * 2, (4, 3)),
}

OTHER = {  # name: (function of one weight, its shape); not affine, or not known to be
    "mul by itself": (lambda w: w * w, (4, 3)),
    "mul by a view of itself": (lambda w: w * w.T, (3, 3)),
    "mm with itself": (lambda w: w @ w.T, (4, 3)),
    "dot with itself": (lambda w: torch.dot(w, w), (4,)),
    "mm of two products": (lambda w: (X @ w).T @ (X @ w), (4, 3)),
    "addmm of two weights": (lambda w: torch.addmm(w, w, w), (3, 3)),
    "div by it": (lambda w: X / w, (4,)),
    "div of it by itself": (lambda w: w / (w.abs() + 1), (4,)),
    "div rounded down": (lambda w: torch.div(w, 0.3, rounding_mode="floor"), (4,)),
    "div rounded to zero": (lambda w: torch.div(w, X, rounding_mode="trunc"), (4,)),
    "floor_divide": (lambda w: w // 0.3, (4,)),
    "remainder": (lambda w: w % 0.3, (4,)),
    "to integers and back": (lambda w: (3 * w).to(torch.int64).to(torch.float64), (4,)),
    "sum as integers": (lambda w: (3 * w).sum(dtype=torch.int64) * X, (4,)),
    "relu": (lambda w: F.relu(w), (4,)),
    "abs": (lambda w: w.abs(), (4,)),
    "pow": (lambda w: w**2, (4,)),
    "max": (lambda w: w.max(dim=0).values, (4, 3)),
    "sorted": (lambda w: w.sort(dim=0).values, (4, 3)),
    "rows chosen by the weights": (lambda w: X.index_select(1, w.argsort()), (4,)),
    "its bits": (lambda w: w.view(torch.bfloat16)[..., 3::4] @ X.T.bfloat16(), (4,)),
    "convolved with itself": (lambda w: F.conv1d(w[None], w[:, None, :3], groups=2), (2, 5)),
    "batch statistics": (lambda w: F.batch_norm(F.linear(X, w), None, None, training=True), (3, 4)),
    "a scale times a weight": (lambda w: F.batch_norm(F.linear(X, w), B[0], B[1].abs(), w[:, 0]), (3, 4)),
    "a mean that moves": (lambda w: F.batch_norm(B, w, B[1].abs()), (3,)),
    "a mean and a scale that move": (lambda w: F.batch_norm(B, w, B[1].abs(), w), (3,)),
    "attention": (lambda w: F.scaled_dot_product_attention(SIGNAL * w, SIGNAL, SIGNAL * w), (9,)),
    "softmax": (lambda w: F.softmax(w, dim=0), (4,)),
    "a masked weight": (lambda w: torch.where(w > 0, w, 0.1 * w), (4,)),
    "a norm": (lambda w: w / w.norm(), (4,)),
}


@pytest.mark.parametrize("name", AFFINE)
def test_what_is_affine_is_combined_behind_the_operation(name):
    function, shape = AFFINE[name]
    parts = check(lambda w: function(w).tanh(), [shape])
    assert [op for op in operations(parts.rest) if name_of(op) not in VIEWS] == ["aten.tanh.default"]
    assert parts.direct == ()


@pytest.mark.parametrize("name", OTHER)
def test_what_is_not_affine_is_computed_at_every_point(name):
    function, shape = OTHER[name]
    check(function, [shape])
    check(lambda w: function(w).tanh() * function(w), [shape])


@pytest.mark.parametrize("name", [*AFFINE, *OTHER])
def test_without_folding_no_product_with_the_data_is_kept(name):
    function, shape = {**AFFINE, **OTHER}[name]
    parts = check(lambda w: function(w).tanh(), [shape], fold=False)
    products = ("mm", "mv", "dot", "convolution", "linear", "embedding", "mul", "batch_norm")
    assert not any(product in name_of(op) for op in operations(parts.affine) for product in products)


def test_a_product_with_a_weight_that_does_not_move_is_folded_and_with_one_that_does_is_not():
    def function(w, v, x, u):
        return ((x @ w + u).tanh() @ v).sum()

    first = check(function, [(4, 3), (3, 2)], [X, draw(3)])
    assert len(operations(first.affine)) == 2
    assert first.direct == (1,)
    assert operations(first.fixed) == []
    last = check(lambda v, w, x, u: function(w, v, x, u), [(3, 2)], [draw(4, 3), X, draw(3)])
    assert "aten.tanh.default" in operations(last.fixed)
    assert operations(last.rest) == []  # the sum of the last product is affine too
    assert last.direct == ()


def test_a_weight_used_behind_and_in_front_of_a_product_is_right():
    parts = check(lambda w: (X @ w).sum() * w.relu().sum() + w[0, 0], [(4, 3)])
    assert parts.direct == (0,)


def test_a_value_with_users_on_both_sides_is_made_once():
    def function(w, x):
        hidden = x @ w
        return hidden.tanh().sum() + hidden.sum() + (2 * hidden).sigmoid().sum()

    parts = check(function, [(4, 3)], [X])
    assert operations(parts.affine).count("aten.mm.default") == 1
    assert "aten.mm.default" not in operations(parts.rest)


def test_a_view_is_not_kept_but_what_it_looks_at():
    parts = check(lambda w, x: (x @ w).T[1:].tanh(), [(4, 3)], [X])
    (folded,) = (node for node in parts.affine.graph.nodes if node.op == "output")
    assert [str(node.target) for node in folded.args[0]] == ["aten.mm.default"]
    assert parts.sizes[0] == 5 * 3 * 8


def test_outputs_may_be_fixed_affine_or_a_weight_itself():
    vertices = [[draw(4, 3, seed=k)] for k in range(3)]
    graph = trace(lambda w, x: (x.sum(), x @ w, w), [*vertices[0], X])
    parts = split(graph, ["affine", "fixed"])
    constants = parts.fixed(X)
    (folded,) = parts.affine(*constants, *vertices[1])
    total, product, weight = parts.rest(*constants, folded, vertices[2][0])
    assert total == X.sum()
    assert torch.equal(product, X @ vertices[1][0])
    assert torch.equal(weight, vertices[2][0])


def test_what_changes_at_every_point_is_never_folded():
    graph = trace(lambda w, s, x: (x * s) @ w + s, [draw(4, 3), draw(1), X])
    parts = split(graph, ["affine", "other", "fixed"])
    assert operations(parts.affine) == []
    assert parts.direct == (0,)
    (value,) = parts.rest(*parts.fixed(X), draw(1), draw(4, 3))
    torch.testing.assert_close(value, (X * draw(1)) @ draw(4, 3) + draw(1))


def test_late_inputs_are_made_when_they_are_first_used_and_once():
    seen = []

    def late(name, tensor):
        def make():
            seen.append(name)
            return tensor

        return make

    def function(w, v, x):
        hidden = (x @ w).tanh()
        return (hidden @ v).sum() + v.relu().sum() + w.relu().sum()

    w, v = draw(4, 3), draw(3, 2)
    parts = split(trace(function, [w, v, X]), ["affine", "affine", "fixed"], fold=False)
    (value,) = parts.rest(*parts.fixed(X), late("w", w), late("v", v))
    assert seen == ["w", "v"]
    torch.testing.assert_close(value, function(w, v, X))


# --- tracing -----------------------------------------------------------------------------------------------------


def test_a_graph_has_no_mutation_and_leaves_its_inputs_alone():
    def function(w, x):
        x.mul_(2)
        x[:, 0] = 0
        w.clamp_(-0.5, 0.5)
        w.data.add_(1)
        h = x @ w
        h[:, 1:] += 1
        return F.relu(h, inplace=True)

    w, x = draw(4, 3), X.clone()
    parts = split(trace(function, [w, x]), ["affine", "fixed"])
    value = parts.rest(*parts.fixed(x), *parts.affine(*parts.fixed(x), w), *[w for _ in parts.direct])[0]
    assert torch.equal(w, draw(4, 3))
    assert torch.equal(x, X)
    found = [op for part in (parts.fixed, parts.affine, parts.rest) for op in operations(part)]
    assert not any(name_of(op).endswith("_") for op in found)
    torch.testing.assert_close(value, function(w.clone(), x.clone()))


VALUES = {
    "a branch on a sum": lambda w: w if w.sum() > 0 else -w,
    "a number": lambda w: w / w.norm().item(),
    "a list": lambda w: w * w.tolist()[0],
    "an array": lambda w: w * float(w.detach().numpy().sum()),
    "equality": lambda w: w if torch.equal(w, w.round()) else -w,
    "closeness": lambda w: w if torch.allclose(w, torch.zeros(4, dtype=w.dtype)) else -w,
    "how many are chosen": lambda w: w / (1 + w[w > 0].numel()),
    "which are not zero": lambda w: w / (1 + len((w > 0).nonzero())),
    "how many are different": lambda w: w * len(w.round().unique()),
    "a masked selection": lambda w: w * w.masked_select(w > 0).mean(),
    "repetitions": lambda w: w.repeat_interleave(w.abs().to(torch.int64)).sum(),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_depends_on_values_is_refused(name):
    with pytest.raises(Untraceable):
        trace(VALUES[name], [draw(4)])


def test_a_number_of_a_constant_may_be_used():
    constant = torch.tensor(3.0)
    graph = trace(lambda w: w * constant.item(), [draw(4)])
    assert torch.equal(graph(draw(4)), 3 * draw(4))


@pytest.mark.parametrize("private", [True, False])
def test_random_numbers_are_refused_and_the_generator_stays_where_it_is(private):
    generator = torch.Generator().manual_seed(3)
    before = torch.get_rng_state(), generator.get_state()
    with pytest.raises(Untraceable, match="draws random numbers"):
        trace(lambda w: w + torch.randn(4, generator=generator if private else None), [draw(4)])
    with pytest.raises(Untraceable, match="draws random numbers"):
        trace(lambda w: F.dropout(w, training=True), [draw(4)])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(generator.get_state(), before[1])


def test_attention_without_dropout_draws_no_random_numbers():
    q = draw(2, 3, 5, 4)
    graph = trace(lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True), [q])
    torch.testing.assert_close(graph(q), F.scaled_dot_product_attention(q, q, q, is_causal=True))


def test_a_parameter_that_is_not_among_the_inputs_is_refused():
    hidden = nn.Parameter(draw(4))
    with pytest.raises(Untraceable, match="by another way than its name"):
        trace(lambda w: w * hidden, [draw(4)])


def test_replacing_the_data_of_an_input_is_refused():
    def function(w):
        w.data = w.data.clamp(-1e9, 1e9)
        return w.sum()

    with pytest.raises(Untraceable, match="replaces the data"):
        trace(function, [draw(4)])


def test_gradients_are_part_of_the_graph():
    def function(w, x):
        with torch.enable_grad():
            x = x.clone().requires_grad_()
            u = (x @ w).tanh().sum()
            (slope,) = torch.autograd.grad(u, x, create_graph=True)
            (curvature,) = torch.autograd.grad(slope.sum(), x)
        return (curvature**2).mean() + u

    w = draw(4, 3)
    torch.testing.assert_close(trace(function, [w, X])(w, X), function(w, X).detach(), rtol=1e-12, atol=1e-14)


def test_shapes_may_differ_in_strides_from_those_that_were_traced():
    def function(w, x):
        return (x @ w.view(-1).view(4, 3)).view(-1).sum() + w.flatten()[1]

    parts = split(trace(function, [draw(4, 3), X]), ["other", "fixed"])
    turned = draw(4, 3).T.contiguous().T
    assert turned.stride() != draw(4, 3).stride()
    torch.testing.assert_close(parts.rest(*parts.fixed(X), turned)[0], function(draw(4, 3), X))


def test_threads_that_trace_at_once_leave_modules_as_they_were():
    call, attribute = nn.Module.__call__, nn.Module.__getattr__
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double().requires_grad_(False)
    expected, right = model(X), []

    def work():
        own = copy.deepcopy(model)
        tensors, function = by_name(own)
        for _ in range(5):
            graph = trace(function, [X, *tensors])
            right.append(torch.allclose(graph(X, *tensors), expected) and torch.allclose(model(X), expected))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 20
    assert nn.Module.__call__ is call
    assert nn.Module.__getattr__ is attribute


# --- BatchNorm behind a convolution ------------------------------------------------------------------------------

CONVOLUTIONS = {
    "1d": (nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), SIGNAL),
    "1d, no bias": (nn.Conv1d(4, 6, 3, bias=False, padding=2, dilation=2), nn.BatchNorm1d(6, eps=0.3), SIGNAL),
    "2d, grouped": (nn.Conv2d(4, 6, 3, groups=2, stride=2), nn.BatchNorm2d(6), IMAGE),
    "2d, no scale": (nn.Conv2d(4, 6, (3, 2)), nn.BatchNorm2d(6, affine=False), IMAGE),
    "2d, no bias and no scale": (nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6, affine=False), IMAGE),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8), IMAGE),
    "3d": (nn.Conv3d(4, 5, 2), nn.BatchNorm3d(5), draw(2, 4, 3, 3, 3)),
}


def normalised(make):
    """A convolution, a layer with statistics and weights that are not trivial, and data."""
    conv, norm, x = make
    for i, tensor in enumerate([*conv.parameters(), *norm.parameters(), norm.running_mean, norm.running_var]):
        tensor.data = draw(*tensor.shape, seed=20 + i)
    norm.running_var.abs_().add_(0.1)
    return conv.eval().requires_grad_(False), norm.eval().requires_grad_(False), x


def by_name(module):
    """A module as a function of its data and of the module's tensors by name, which is what a graph takes."""
    names = [name for name, _ in [*module.named_parameters(), *module.named_buffers()]]
    tensors = [t.detach() for _, t in [*module.named_parameters(), *module.named_buffers()]]
    return tensors, lambda x, *given: torch.func.functional_call(module, dict(zip(names, given, strict=True)), (x,))


def fused_operations(module, x):
    tensors, function = by_name(module)
    graph = trace(function, [x, *tensors])
    before = graph(x, *tensors)
    torch.testing.assert_close(before, module(x), rtol=1e-12, atol=1e-12)
    fuse_batchnorm(graph)
    graph.recompile()
    torch.testing.assert_close(graph(x, *tensors), before, rtol=1e-11, atol=1e-11)
    return operations(graph)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_batch_norm_is_fused_into_the_convolution_before_it(name):
    conv, norm, x = normalised(CONVOLUTIONS[name])
    found = fused_operations(nn.Sequential(conv, norm, nn.ReLU()), x)
    assert found.count("aten.convolution.default") == 1
    assert not any("batch_norm" in op for op in found)


class Joined(nn.Module):
    """The convolution's output is used beside the normalised one."""

    def __init__(self, conv, norm):
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


NOT_FUSED = {
    "a transposed convolution": lambda: nn.Sequential(nn.ConvTranspose2d(4, 4, 3), nn.BatchNorm2d(4)),
    "an output that is used elsewhere": lambda: Joined(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)),
    "something in between": lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.Tanh(), nn.BatchNorm2d(6)),
    "the batch's own statistics": lambda: nn.Sequential(
        nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, track_running_stats=False)
    ),
}


@pytest.mark.parametrize("name", NOT_FUSED)
def test_batch_norm_is_not_fused_with(name):
    module = NOT_FUSED[name]().double().eval().requires_grad_(False)
    found = fused_operations(module, IMAGE)
    assert any("batch_norm" in op for op in found)


def test_batch_norm_is_not_fused_in_half_precision_where_the_weight_would_be_rounded_once_more():
    conv, norm, x = normalised(CONVOLUTIONS["2d, grouped"])
    module = copy.deepcopy(nn.Sequential(conv, norm)).to(torch.bfloat16)
    tensors, function = by_name(module)
    x = x.to(torch.bfloat16)
    graph = trace(function, [x, *tensors])
    fuse_batchnorm(graph)
    graph.recompile()
    assert torch.equal(graph(x, *tensors), module(x))


@pytest.mark.parametrize("legit", [True, False])
def test_both_forms_of_the_operation_are_fused(legit):
    aten = torch.ops.aten

    def function(x, w, *statistics):
        y = F.conv2d(x, w)
        if legit:
            return aten._native_batch_norm_legit_no_training(y, *statistics, 0.1, 0.3)[0]
        return aten.native_batch_norm(y, *statistics, False, 0.1, 0.3)[0]

    inputs = [IMAGE, draw(5, 4, 3, 3), draw(5, seed=1), draw(5, seed=2), draw(5, seed=3), draw(5, seed=4).abs()]
    graph = trace(function, inputs)
    fuse_batchnorm(graph)
    graph.recompile()
    assert not any("batch_norm" in op for op in operations(graph))
    torch.testing.assert_close(graph(*inputs), function(*inputs), rtol=1e-12, atol=1e-12)


def test_a_convolution_shared_by_two_layers_is_fused_with_each():
    conv, norm, x = normalised(CONVOLUTIONS["2d, grouped"])
    other = nn.BatchNorm2d(6, eps=0.7).double().eval().requires_grad_(False)

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.other = conv, norm, other

        def forward(self, x):
            return self.norm(self.conv(x)) - self.other(self.conv(x.flip(2)))

    found = fused_operations(Shared(), x)
    assert found.count("aten.convolution.default") == 2
    assert not any("batch_norm" in op for op in found)


def test_a_fused_scale_that_moves_is_not_taken_for_affine():
    conv, norm, _ = normalised(CONVOLUTIONS["2d, grouped"])
    mean, variance = norm.running_mean, norm.running_var

    def function(w, b, gamma, beta, x):
        return F.batch_norm(F.conv2d(x, w, b, 2, groups=2), mean, variance, gamma, beta).relu()

    shapes = [tuple(p.shape) for p in (conv.weight, conv.bias, norm.weight, norm.bias)]
    vertices = [[draw(*shape, seed=10 * k + i) for i, shape in enumerate(shapes)] for k in range(3)]
    graph = trace(function, [*vertices[0], IMAGE])
    fuse_batchnorm(graph)
    point = [sum(c * v for c, v in zip(VERTEX_COEFFICIENTS, w, strict=True)) for w in zip(*vertices, strict=True)]
    for moving in ((0, 1, 2, 3), (0, 1), (2, 3), (1, 3), (3,)):
        given = [[vertex[i] if i in moving else point[i] for i in range(4)] for vertex in vertices]
        for fold in (True, False):
            ordered = _reordered(graph, moving)
            parts = split(ordered, ["affine"] * len(moving) + ["fixed"] * (5 - len(moving)), fold=fold)
            fixed = [*(point[i] for i in range(4) if i not in moving), IMAGE]
            value = at_a_point(parts, [[v[i] for i in moving] for v in given], fixed)
            torch.testing.assert_close(value, function(*point, IMAGE), rtol=1e-11, atol=1e-11)


def _reordered(graph, moving):
    """The same graph with the moving inputs first."""
    order = [*moving, *(i for i in range(5) if i not in moving)]

    def function(*tensors):
        return graph(*(tensors[order.index(i)] for i in range(5)))

    graph.recompile()
    inputs = [node.meta["val"] for node in graph.graph.nodes if node.op == "placeholder"]
    return trace(function, [draw(*inputs[i].shape) for i in order])
