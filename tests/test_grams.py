"""RegMean of every kind of linear map against its closed form, from inputs that a plain loop wrote down."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets import merging
from lwidgets.grams import Entries, disjoint, input_grams

DOUBLE = {"dtype": torch.float64}


class Net(nn.Module):
    """Parameters and modules by name, and a forward that uses them."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.run = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.run(self, x)


class Conv1D(nn.Module):
    """A linear layer whose weight is stored as (inputs, outputs), as some language models have it."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.nf = outputs
        self.weight, self.bias = weight(inputs, outputs), weight(outputs)

    def forward(self, x):
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], self.nf)


def weight(*shape):
    return nn.Parameter(torch.randn(*shape, **DOUBLE))


def regmean_by_hand(inputs, weights, off_diagonal=0.8):
    """The formula: inputs of each task (n, in), weights of each (in, out); with a ones column where there is a bias."""
    grams = [x.T @ x for x in inputs]
    grams = [off_diagonal * g + (1 - off_diagonal) * torch.diag(torch.diag(g)) for g in grams]
    mean = sum(weights) / len(weights)  # where no input varies
    pull = sum(g @ (w - mean) for g, w in zip(grams, weights, strict=True))
    return mean + torch.linalg.lstsq(sum(grams), pull, driver="gelsd").solution


def ones(x):
    return torch.cat([x, torch.ones(len(x), 1, **DOUBLE)], dim=1)


def joined(w, b):
    return torch.cat([w, b[None]]).detach()


# Each kind: a network, data of one task, and maps as (matrix (in, out) and bias of a model, its inputs (n, in)).
def linear():
    net = Net(lambda self, x: torch.tanh(self.one(x)), one=nn.Linear(4, 3, **DOUBLE))
    return net, lambda m, x: [(m.one.weight.T, m.one.bias, x.reshape(-1, 4))]


def transposed_storage():
    net = Net(lambda self, x: torch.tanh(self.one(x)), one=Conv1D(4, 3))
    return net, lambda m, x: [(m.one.weight, m.one.bias, x.reshape(-1, 4))]


def plain_product():
    net = Net(lambda self, x: x @ self.w + self.b, w=weight(4, 3), b=weight(3))
    return net, lambda m, x: [(m.w, m.b, x.reshape(-1, 4))]


def product_from_the_left():
    net = Net(lambda self, x: self.w @ x.reshape(-1, 4).T, w=weight(3, 4))
    return net, lambda m, x: [(m.w.T, None, x.reshape(-1, 4))]


def einsum():
    net = Net(lambda self, x: torch.einsum("ntd,de->nte", x, self.w), w=weight(4, 3))
    return net, lambda m, x: [(m.w, None, x.reshape(-1, 4))]


def cast_weight():
    net = Net(lambda self, x: F.linear(x, self.w.float().to(x.dtype), self.b), w=weight(3, 4), b=weight(3))
    return net, lambda m, x: [(m.w.T, m.b, x.reshape(-1, 4))]


def experts():
    net = Net(lambda self, x: torch.bmm(x.transpose(0, 1), self.w) + self.b, w=weight(5, 4, 3), b=weight(5, 1, 3))
    return net, lambda m, x: [(m.w[i], m.b[i, 0], x[:, i]) for i in range(5)]


def called_twice():
    net = Net(lambda self, x: self.one(x) + self.one(x.square()), one=nn.Linear(4, 3, **DOUBLE))
    return net, lambda m, x: [(m.one.weight.T, m.one.bias, torch.cat([x, x.square()]).reshape(-1, 4))]


def packed_attention():
    net = Net(lambda self, x: self.one(x, x, x)[0], one=nn.MultiheadAttention(4, 2, batch_first=True, **DOUBLE))

    def maps(m, x):
        q, k, v = (
            (x @ w.T + b).unflatten(-1, (2, 2)).transpose(1, 2)
            for w, b in zip(m.one.in_proj_weight.chunk(3), m.one.in_proj_bias.chunk(3), strict=True)
        )
        mixed = ((q @ k.mT / 2**0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
        return [
            (m.one.in_proj_weight.T, m.one.in_proj_bias, x.reshape(-1, 4)),
            (m.one.out_proj.weight.T, m.one.out_proj.bias, mixed.reshape(-1, 4)),
        ]

    return net, maps


def cross_attention():
    net = Net(
        lambda self, x: self.one(x, x + 1, x.square())[0], one=nn.MultiheadAttention(4, 2, batch_first=True, **DOUBLE)
    )

    def maps(m, x):
        given = (x, x + 1, x.square())
        sides = zip(m.one.in_proj_weight.chunk(3), m.one.in_proj_bias.chunk(3), given, strict=True)
        return [(w.T, b, part.reshape(-1, 4)) for w, b, part in sides]

    return net, maps


def recurrent():
    net = Net(lambda self, x: self.one(x)[0], one=nn.LSTM(4, 3, batch_first=True, **DOUBLE))

    def maps(m, x):
        states = m.one(x)[0]
        before = torch.cat([torch.zeros(len(x), 1, 3, **DOUBLE), states[:, :-1]], dim=1)
        return [
            (m.one.weight_ih_l0.T, m.one.bias_ih_l0, x.reshape(-1, 4)),
            (m.one.weight_hh_l0.T, m.one.bias_hh_l0, before.reshape(-1, 3)),
        ]

    return net, maps


def convolution(transposed=False):
    make = nn.ConvTranspose2d if transposed else nn.Conv2d
    options = {"stride": 2, "padding": 1, "dilation": 2, "groups": 2, **DOUBLE}
    net = Net(lambda self, x: self.one(x[:, None].expand(-1, 2, -1, -1) * self.two), one=make(2, 4, 3, **options))
    net.register_buffer("two", torch.tensor([1.0, -0.5], **DOUBLE)[:, None, None])

    def maps(m, x):
        # The Jacobian of the output by the weight of one group is its patches, whichever way it is convolved.
        given = (x[:, None] * m.two).detach()
        found = []
        for group in range(2):
            w = m.one.weight.detach()
            own = w[group : group + 1] if transposed else w[2 * group : 2 * group + 2]
            basis = torch.eye(9, **DOUBLE).reshape(9, 1, 1, 3, 3)
            call = F.conv_transpose2d if transposed else F.conv2d
            columns = [
                call(given[:, group : group + 1], tap, stride=2, padding=1, dilation=2).flatten() for tap in basis
            ]
            own = own[0].flatten(1) if transposed else own[:, 0].flatten(1)
            found.append((own.T, m.one.bias[2 * group : 2 * group + 2], torch.stack(columns, dim=1)))
        return found

    return net, maps


KINDS = {
    "linear": linear,
    "weight of (in, out)": transposed_storage,
    "plain product": plain_product,
    "product from the left": product_from_the_left,
    "einsum": einsum,
    "cast weight": cast_weight,
    "experts": experts,
    "called twice": called_twice,
    "packed attention": packed_attention,
    "cross attention": cross_attention,
    "recurrent": recurrent,
    "convolution": convolution,
    "transposed convolution": lambda: convolution(transposed=True),
}


def entries_of(merged, parameter, name):
    """The merged values at the entries of a view of a model's parameter."""
    return merged.parameters[name].as_strided(parameter.shape, parameter.stride(), parameter.storage_offset())


@pytest.mark.parametrize("kind", KINDS)
def test_regmean_is_its_closed_form_for_every_map_that_is_linear_in_its_input(kind):
    torch.manual_seed(0)
    net, maps = KINDS[kind]()
    models, inputs, tasks = [], [], []
    for seed in range(2):
        model = copy.deepcopy(net)
        for p in model.parameters():
            p.data = torch.randn(p.shape, **DOUBLE)
        x = (1 + seed) * torch.randn(8 + seed, 5, 4, **DOUBLE)
        models.append(model)
        inputs.append(x)
        # batches of 3, 3 and the rest
        tasks.append(lw.Objective(model, [*x.split(3)], loss=lambda model, batch: model(batch).square().mean()))
    merged = merging.regmean(*models, objectives=tasks, off_diagonal=0.8)
    names = {p.untyped_storage().data_ptr(): n for n, p in models[0].named_parameters()}
    each = [maps(m, x) for m, x in zip(models, inputs, strict=True)]
    for layers in zip(*each, strict=True):
        weights = [w.detach() if b is None else joined(w, b) for w, b, _ in layers]
        given = [x if b is None else ones(x) for _, b, x in layers]
        with torch.no_grad():
            expected = regmean_by_hand(given, weights)
        w, b, _ = layers[0]
        found = entries_of(merged, w, names[w.untyped_storage().data_ptr()])
        torch.testing.assert_close(found, expected[: len(w)], rtol=1e-7, atol=1e-9)
        if b is not None:
            found = entries_of(merged, b, names[b.untyped_storage().data_ptr()])
            torch.testing.assert_close(found, expected[-1], rtol=1e-7, atol=1e-9)
    solved, of = (int(n) for n in merged.label.split()[1:4:2])
    assert 0 < solved <= of == len(names)


def test_rows_of_an_embedding_are_weighted_by_how_often_they_are_looked_up():
    models = [nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2)).double() for _ in range(2)]
    tokens = [torch.tensor([[0, 0], [1, 2]]), torch.tensor([[0, 2], [2, 2], [3, 3]])]
    tasks = [
        lw.Objective(m, [x], loss=lambda model, b: model(b).square().mean())
        for m, x in zip(models, tokens, strict=True)
    ]
    found = merging.regmean(*models, objectives=tasks).parameters["0.weight"]
    a, b = (m[0].weight.detach() for m in models)
    rows = [(2 * a[0] + b[0]) / 3, a[1], (a[2] + 3 * b[2]) / 4, b[3], (a[4] + b[4]) / 2]
    torch.testing.assert_close(found, torch.stack(rows))


def test_what_is_computed_from_others_or_used_in_two_ways_is_averaged():
    def forward(self, x):
        return self.normed(x) + F.linear(self.table(x.argmax(-1)), self.table.weight)[..., :3] + self.bilinear(x, x)

    def make():
        torch.manual_seed(1)
        normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
        return Net(forward, normed=normed, table=nn.Embedding(4, 4), bilinear=nn.Bilinear(4, 4, 3)).double()

    models = [make() for _ in range(2)]
    with torch.no_grad():
        for p in models[1].parameters():
            p.add_(torch.randn_like(p))
    x = torch.randn(6, 4, **DOUBLE)
    task = lw.Objective(models[0], [x], loss=lambda model, b: model(b).square().mean())
    merged, mean = merging.regmean(*models, objectives=task), merging.average(*models)
    assert merged.label.startswith("regmean, 0 of 6 parameters solved for")
    assert all(torch.equal(t, mean.parameters[n]) for n, t in merged.parameters.items())


def test_products_in_a_backward_pass_inside_the_loss_do_not_count():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()

    def residual(model, points):
        points = points.requires_grad_()
        (slope,) = torch.autograd.grad(model(points).sum(), points, create_graph=True)
        return (slope.sum(1) - points[:, 0]).square().mean()

    x = torch.rand(9, 2, **DOUBLE)
    seen = input_grams(lw.Objective(net, [x], loss=residual), lw.State.of(net), "none")
    with torch.no_grad():
        hidden = net[:2](x)
    expected = {"0.weight": ones(x).T @ ones(x), "2.weight": ones(hidden).T @ ones(hidden)}
    assert {weight.name for weight in seen} == set(expected)
    for entries, inputs in seen.items():
        torch.testing.assert_close(inputs.gram, expected[entries.name])


def test_batchnorm_layers_stand_as_asked_and_models_that_insist_on_float32_are_seen():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    x = torch.randn(9, 3)
    objective = lw.Objective(net, [x], loss=lambda model, b: model(b).square().mean(), batchnorm="batch")
    for mode, module in (("frozen", copy.deepcopy(net).eval()), ("batch", copy.deepcopy(net).train())):
        with torch.no_grad():
            hidden = ones(module.double()[:2](x.double()))
        (gram,) = (i.gram for e, i in input_grams(objective, lw.State.of(net), mode).items() if e.name == "2.weight")
        torch.testing.assert_close(gram, hidden.T @ hidden, rtol=1e-6, atol=1e-6)

    def picky(self, x):
        if self.one.weight.dtype != torch.float32:
            raise TypeError("single precision only")
        return self.one(x)

    single = Net(picky, one=nn.Linear(3, 2))
    seen = input_grams(
        lw.Objective(single, [x], loss=lambda model, b: model(b).square().mean()), lw.State.of(single), "none"
    )
    (inputs,) = seen.values()
    torch.testing.assert_close(inputs.gram, ones(x.double()).T @ ones(x.double()), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("views", "apart"),
    [
        ([((2, 3), (3, 1), 0)], True),
        ([((3, 2), (1, 3), 0)], True),
        ([((2, 3), (0, 1), 0)], False),
        ([((2, 3), (1, 1), 0)], False),
        ([((2, 3), (3, 1), 0), ((2, 3), (3, 1), 6)], True),
        ([((2, 3), (3, 1), 0), ((3, 2), (1, 3), 0)], False),
        ([((4,), (1,), 0), ((2,), (1,), 3)], False),
        ([((2, 2), (4, 1), 0), ((2, 2), (4, 1), 2)], True),
    ],
)
def test_views_are_disjoint_where_no_place_is_in_two(views, apart):
    made = [Entries("w", *view) for view in views]
    places = [i for v in made for i in v.of(torch.arange(100)).flatten().tolist()]
    assert (len(set(places)) == len(places)) is apart
    assert disjoint(made) is apart
    np.testing.assert_array_equal(made[0].of(torch.arange(5.0, 105.0)[2:]), made[0].of(torch.arange(100)) + 7)
