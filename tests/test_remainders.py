"""Models that differ in what does not move: the picture says so, wherever it says where the models are."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

import lwidgets as lw
from lwidgets.parameters import ParameterSpace, State
from lwidgets.studies.parts import checks
from lwidgets.subspaces.remainders import Remainder, remainders, told, way_out

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(3))
Y = torch.randint(0, 3, (32,), generator=torch.Generator().manual_seed(4))


class Standardised(nn.Module):
    """A classifier with the mean of its own inputs."""

    def __init__(self, seed: int, shift: float, *, persistent: bool = True) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.register_buffer("mu", torch.full((6,), shift), persistent=persistent)
        self.net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, x):
        return self.net(x - self.mu)


class Normalised(nn.Module):
    """InstanceNorm that keeps statistics: they are called like BatchNorm's, and no mode deals with them."""

    def __init__(self, seed: int, shift: float) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.norm, self.head = nn.InstanceNorm1d(6, track_running_stats=True), nn.Linear(6, 3)
        self.norm.running_mean += shift

    def forward(self, x):
        return self.head(self.norm(x[..., None].expand(-1, -1, 2)).mean(-1))


class Coded(nn.Module):
    """A codebook of integers."""

    def __init__(self, seed: int, shift: float) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.register_buffer("codes", torch.arange(6) % (2 + int(shift)))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(x[:, self.codes])


class Pruned(nn.Module):
    """A mask on the weights."""

    def __init__(self, seed: int, shift: float) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.head = nn.Linear(6, 3)
        prune.l1_unstructured(self.head, "weight", 0.2 + shift / 10)

    def forward(self, x):
        return self.head(x)


def transient(seed: int, shift: float) -> nn.Module:
    return Standardised(seed, shift, persistent=False)


BUFFERS = {
    "an input's mean": (Standardised, "mu"),
    "a buffer that no state dict has": (transient, "mu"),
    "InstanceNorm": (Normalised, "norm.running_mean"),
    "a codebook": (Coded, "codes"),
    "a pruning mask": (Pruned, "head.weight_mask"),
}


def objective(model: nn.Module, **options) -> lw.Objective:
    return lw.Objective(model, (X, Y), loss=F.cross_entropy, **options)


def own_loss(model: nn.Module) -> float:
    with torch.no_grad():
        return F.cross_entropy(model.eval()(X), Y).item()


def with_parameters_of(a: nn.Module, b: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """The first, with some parameters of the other written into it."""
    theirs = dict(b.named_parameters())
    with torch.no_grad():
        for name, p in a.named_parameters():
            if name in names:
                p.copy_(theirs[name])
    return a


@pytest.mark.parametrize("kind", BUFFERS)
def test_a_buffer_that_differs_is_said_with_its_name_and_the_advice_works(kind):
    make, name = BUFFERS[kind]
    a, b = make(0, 0.0), make(1, 4.0)
    here = objective(a)
    with pytest.warns(UserWarning, match=f"b: {type(b).__name__} is at its place but for .*{name}"):
        line = lw.sample(here, lw.Line(a, b), resolution=3, tolerance=0)
    mixed = with_parameters_of(make(0, 0.0), b, here.space.moved)
    assert line.values["loss"].tolist()[::2] == pytest.approx([own_loss(a), own_loss(mixed)], rel=1e-6)
    assert line.labels == (f"alpha (0 = a, 1 = b but for {name}, which is a's)",)
    assert list(line.provenance["subspace"]["not at its place"]) == [f"b: {type(b).__name__}"]
    assert name in line.provenance["subspace"]["not at its place"][f"b: {type(b).__name__}"][0]
    assert here.measure(b)["loss"] == pytest.approx(own_loss(b), rel=1e-6)
    same = make(1, 4.0)  # as the message says
    for buffer, value in zip(same.buffers(), a.buffers(), strict=True):
        buffer.copy_(value)
    exact = lw.sample(here, lw.Line(a, same), resolution=3, tolerance=0)
    assert exact.values["loss"][-1] == pytest.approx(own_loss(same), rel=1e-6)
    assert exact.labels == ("alpha (0 = a, 1 = b)",)


@pytest.mark.parametrize("params", ["net.2.*", ["*", "!net.0.bias"], "*.bias", "!net.2.bias", "net.0.weight"])
def test_parameters_that_stay_are_said_and_the_advice_works(params):
    a, b = Standardised(0, 1.0), Standardised(1, 1.0)
    here = objective(a, params=params)
    with pytest.warns(UserWarning, match=r"differs by up to [\d.]+\).*let the objective's params have .* move"):
        line = lw.sample(here, lw.Line(a, b), resolution=3, tolerance=0)
    assert line.values["loss"][-1] == pytest.approx(
        own_loss(with_parameters_of(copy.deepcopy(a), b, here.space.moved)), rel=1e-6
    )
    assert "1 = b but for" in line.labels[0]
    assert lw.sample(objective(a), lw.Line(a, b), resolution=3).labels == ("alpha (0 = a, 1 = b)",)


def test_the_largest_difference_is_the_one_told():
    a, b = Standardised(0, 1.0), Standardised(0, 1.0)
    with torch.no_grad():
        b.net[0].weight[1, 2] += 0.25
        b.net[0].bias[3] -= 1.5
    with pytest.warns(UserWarning, match=r"net.0.bias \(differs by up to 1.5\) and 1 more"):
        lw.sample(objective(a, params="net.2.*"), lw.Line(a, b), resolution=3)


def subspaces(a, b, c):
    return {
        "plane": (lw.Plane.through(a, b, c), ["x (0 = a, 1 = b but for mu, which is a's)", "y (0 = a, 1 = c)"]),
        "triangle": (lw.Simplex(a, c, b), ["x (0 = a, 1 = b)", "y (0 = a, 1 = c but for mu, which is a's)"]),
        "curve": (lw.Bezier(a, c, b), ["t (0 = a, 1 = b but for mu, which is a's)"]),
        "chain": (lw.Chain(a, c, b), ["t (0 = a, 1 = b but for mu, which is a's)"]),
        "layers": (lw.Layerwise(a, b).line(), ["alpha (0 = a, 1 = b but for mu, which is a's)"]),
        "two layers": (
            lw.Layerwise(a, b).plane("net.0", "net.2"),
            [f"net.{i} (0 = a, 1 = b but for mu, which is a's)" for i in (0, 2)],
        ),
    }


@pytest.mark.parametrize("kind", ["plane", "triangle", "curve", "chain", "layers", "two layers"])
def test_every_subspace_of_models_says_it(kind):
    a, b, c = Standardised(0, 0.0), Standardised(1, 2.0), Standardised(2, 0.0)
    subspace, labels = subspaces(a, b, c)[kind]
    with pytest.warns(UserWarning, match=r"mu \(differs by up to 2\)"):
        landscape = lw.sample(objective(a), subspace, resolution=3, tolerance=0)
    assert list(landscape.labels) == labels


def test_a_bend_is_no_model_but_its_difference_is_told():
    a, b, bend = Standardised(0, 0.0), Standardised(1, 0.0), Standardised(2, 5.0)
    with pytest.warns(UserWarning, match=r"bend 1: Standardised is at its place but for"):
        curve = lw.sample(objective(a), lw.Bezier(a, bend, b), resolution=3)
    assert curve.labels == ("t (0 = a, 1 = b)",)


def test_nothing_is_said_around_one_model_or_of_batchnorm_and_counters():
    make = lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))  # noqa: E731
    a, b = make(), make()
    for _ in range(3):
        b(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for subspace in (lw.Line(a.eval(), b.eval()), lw.Plane.random(Standardised(0, 1.0))):
            here = objective(a if subspace.between_models else Standardised(0, 1.0))
            landscape = lw.sample(here, subspace, resolution=3)
            assert "but for" not in " ".join(landscape.labels)
            assert "not at its place" not in landscape.provenance["subspace"]


def test_explorers_say_the_cause_and_the_way_out():
    a, b = Standardised(0, 0.0), Standardised(1, 3.0)
    here = objective(a)
    explorer = lw.CurveExplorer(here, a, b, resolution=9)
    assert explorer.wait(60)
    assert explorer.study.pictures["curves_picture"].x == "alpha (0 = a, 1 = b but for mu, which is a's)"
    check = str(explorer.verify()).splitlines()[0]
    assert check.startswith("warn The ends are the two models")
    assert f"{own_loss(b):.6g} by itself" in check
    assert "mu (differs by up to 3). To have it there, give the models the same mu" in check
    explorer.close()


def test_the_check_of_layers_measures_the_other_model_itself():
    a, b = Standardised(0, 0.0), Standardised(1, 3.0)
    here, line = objective(a), lw.Layerwise(a, b).line()
    bound = line.bound(here.space)
    with pytest.warns(UserWarning, match="mu"):
        check = checks.reproduces(here, bound, lw.sample(here, line, resolution=3, tolerance=0))
    assert check.state == "warn"
    assert f"{own_loss(b):.6g} by itself" in check.detail


def test_numbers_that_are_not_finite_count_only_where_they_differ():
    inf, nan = float("inf"), float("nan")
    space = ParameterSpace(shapes={}, dtypes={}, moved=(), buffers={"mask": (4,)})
    gaps = []
    for other in ([0, -inf, nan, 1], [0, -inf, nan, 1.5], [0, 0, nan, 1], [0, -inf, 0, 1], [nan, -inf, nan, 1]):
        states = [State({}, {"mask": torch.tensor(values)}) for values in ([0, -inf, nan, 1], other)]
        gaps.append([each.gap for each in remainders(*states, space)])
    assert gaps == [[], [0.5], [inf], [inf], [inf]]


@pytest.mark.parametrize(
    ("label", "names", "expected"),
    [
        ("alpha (0 = a, 1 = b)", [], "alpha (0 = a, 1 = b)"),
        ("scale (0 = base, 1 = merged)", ["p"], "scale (0 = base, 1 = merged but for p, which is base's)"),
        ("y (0 = a, 1 = c)", ["p", "q"], "y (0 = a, 1 = c but for p and q, which are a's)"),
        ("y (0 = a, 1 = c)", ["p", "q", "r"], "y (0 = a, 1 = c but for 3 tensors, which are a's)"),
        ("distance", ["p"], "distance but for p, which is the origin's"),
    ],
)
def test_labels_stay_words(label, names, expected):
    differing = [Remainder(name, True, 1.0) for name in names]
    assert told(label, (), differing) == expected


def test_ways_out_are_of_what_differs():
    weight, buffer, head = Remainder("w", False, 1.0), Remainder("b", True, 1.0), Remainder("h", False, None, "(3, 8)")
    assert way_out([weight]) == "To have it there, let the objective's params have w move"
    assert way_out([weight, buffer]).endswith("have w move and give the models the same b")
    assert way_out([head]).startswith("What has another shape can only be evaluated by itself")
    assert str(head) == "h (of shape (3, 8))"
