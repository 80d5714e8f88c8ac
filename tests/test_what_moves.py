"""Which weights move and how they fall into filters: frozen, complex, parametrised, transposed and expert weights.

Filter norms are compared with a loop over output units that is written for each layer by hand.
"""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune

import lwidgets as lw
from lwidgets.gradients import DifferentiableLoss
from lwidgets.parameters import ParameterSpace, State, as_held, as_real
from tests.models import MLP, make_mlp, named

X, Y = MLP.samples()


def frozen_mlp(*names: str) -> nn.Module:
    model = MLP.model()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(name.startswith(each) for each in names))
    return model


def loss_of(model):
    return lw.Objective(model, (X, Y), loss=F.cross_entropy)


# --- frozen weights


@pytest.mark.parametrize("names", [("0",), ("0", "2"), ("4.bias",), ("2.weight",), ("0.bias", "2.bias", "4")])
def test_frozen_weights_stay_and_the_picture_says_how_many(names):
    model = frozen_mlp(*names)
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    total = sum(p.numel() for p in model.parameters())
    objective = loss_of(model)
    assert objective.space.moved == tuple(trained)
    told = f"{sum(trained.values()):,} of {total:,} numbers move ({total - sum(trained.values()):,} frozen)"
    assert repr(objective) == f"Objective(Sequential: loss; {told})"
    plane = lw.Plane.random(model, span=0.5)
    landscape = lw.sample(objective, plane, resolution=3, tolerance=0)
    facts = landscape.provenance["objective"]
    assert (facts["moved"], facts["parameters"], facts["frozen"]) == (
        sum(trained.values()),
        total,
        total - sum(trained.values()),
    )
    assert landscape.accuracy("loss").endswith(f" · {told}")
    first, second = (plane.bound(objective.space).basis.vectors[i] for i in (1, 2))
    here = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in here.named_parameters():
            if parameter.requires_grad and name in first:
                parameter += 0.5 * first[name] - 0.5 * second[name]
    assert landscape.values["loss"][2, 0] == pytest.approx(MLP.plain_loss(here), rel=1e-6)


def test_all_weights_move_where_the_model_trains_none_and_nothing_is_said_of_frozen_ones():
    objective = loss_of(MLP.model().requires_grad_(False))
    assert objective.space.moved == tuple(named(make_mlp()))
    assert repr(objective) == "Objective(Sequential: loss; 355 numbers move)"
    landscape = lw.sample(objective, lw.Plane.random(objective.module), resolution=3, tolerance=0)
    assert "move" not in landscape.accuracy("loss")


@pytest.mark.parametrize(
    ("params", "moved"),
    [
        (None, ["2.weight", "2.bias", "4.weight", "4.bias"]),
        ("*", list(named(make_mlp()))),
        ("0.weight", ["0.weight"]),
        (["0.*", "4.*"], ["0.weight", "0.bias", "4.weight", "4.bias"]),
        ("!4.*", ["2.weight", "2.bias"]),
        (["*", "!4.*"], ["0.weight", "0.bias", "2.weight", "2.bias"]),
    ],
)
def test_frozen_weights_move_where_they_are_asked_for(params, moved):
    space = ParameterSpace.of_module(frozen_mlp("0"), params)
    assert list(space.moved) == moved
    assert space.frozen == {"0.weight", "0.bias"}.difference(moved)


def test_another_model_moves_what_this_one_moves_whatever_it_trains_itself():
    objective = loss_of(frozen_mlp("0"))
    for other in (frozen_mlp("2"), MLP.model(1), MLP.model(1).requires_grad_(False)):
        again = objective.with_model(other)
        assert (again.space.moved, again.space.frozen) == (objective.space.moved, objective.space.frozen)
    wider = nn.Sequential(*MLP.model(), nn.Linear(3, 3))
    assert objective.with_model(wider).space.moved == (*objective.space.moved, "5.weight", "5.bias")


def test_a_model_at_a_point_trains_what_the_users_trains():
    model = frozen_mlp("0")
    made = loss_of(model).model_at(State.of(MLP.model(1)))
    assert {n: p.requires_grad for n, p in made.named_parameters()} == {
        n: p.requires_grad for n, p in model.named_parameters()
    }


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.uint8, torch.int64])
def test_weights_without_arithmetic_are_refused_by_name_and_the_advice_works(dtype):
    class Low(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low, self.last = nn.Parameter(torch.ones(6, 6).to(dtype), requires_grad=False), nn.Linear(6, 3)
            self.last.requires_grad_(False)

        def forward(self, x):
            return self.last(x.to(self.last.weight.dtype) @ self.low.to(self.last.weight.dtype)).float()

    model = Low()
    with pytest.raises(TypeError, match=r"^Objective: parameter 'low' must be floating point of 16 bits or more") as e:
        loss_of(model)
    assert "params=['*', '!low']" in str(e.value)
    objective = lw.Objective(model, (X, Y), loss=F.cross_entropy, params=["*", "!low"])
    assert objective.measure(model)["loss"] == F.cross_entropy(model(X), Y).item()
    if dtype.is_floating_point:
        assert "model.to(torch.bfloat16)" in str(e.value)
        assert "low" in loss_of(model.to(torch.bfloat16)).space.moved


# --- complex weights


class ComplexLinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 6, dtype=torch.complex64))
        self.bias = nn.Parameter(torch.randn(5, dtype=torch.complex64))
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(F.linear(x.to(self.weight.dtype), self.weight, self.bias).abs())


class Spectral(nn.Module):
    """A layer of a Fourier neural operator: the lowest modes are mixed by complex weights (in, out, modes)."""

    def __init__(self) -> None:
        super().__init__()
        self.modes = nn.Parameter(0.3 * torch.randn(1, 3, 3, dtype=torch.complex64))
        self.local, self.head = nn.Conv1d(1, 3, 1), nn.Linear(18, 3)

    def forward(self, x):
        signal = x.reshape(-1, 1, 6)
        mixed = torch.einsum("bix,iox->box", torch.fft.rfft(signal)[:, :, :3], self.modes)
        return self.head(F.gelu(torch.fft.irfft(mixed, n=6) + self.local(signal)).flatten(1))


class ComplexConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(1, 3, 3, padding=1, dtype=torch.complex64), nn.Linear(18, 3)

    def forward(self, x):
        return self.head(self.conv(x.reshape(-1, 1, 6).to(self.conv.weight.dtype)).abs().flatten(1))


class ComplexUp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose1d(2, 4, 2, groups=2, dtype=torch.complex64)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.up(x.reshape(-1, 2, 3).to(self.up.weight.dtype)).abs().flatten(1))


class Conjugated(nn.Module):
    """Its parameter is stored as a conjugate view."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.randn(6, 4, dtype=torch.complex64).conj()), nn.Linear(4, 3)

    def forward(self, x):
        return self.head((x.to(self.weight.dtype) @ self.weight).real)


COMPLEX = [ComplexLinear, Spectral, ComplexConv, ComplexUp, Conjugated]


def moved_by_hand(model: nn.Module, terms) -> nn.Module:
    """A copy with weights sum c * tensors, pairs of reals where they are complex, added up in float64."""
    here = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in here.named_parameters():
            total = 0
            for c, tensors in terms:
                if name in tensors:
                    t = tensors[name].double()
                    total = total + c * (torch.complex(t[..., 0], t[..., 1]) if parameter.is_complex() else t)
            parameter.copy_(total)
    return here


@pytest.mark.parametrize("make", COMPLEX)
@pytest.mark.parametrize("normalize", ["filter", "layer", "model", "none"])
def test_complex_weights_move_as_pairs_of_reals(make, normalize):
    model = make()
    objective = loss_of(model)
    assert objective.space.size == sum(p.numel() * (1 + p.is_complex()) for p in model.parameters())
    plane = lw.Plane.random(model, normalize=normalize, span=0.5, zero_1d=False)
    landscape = lw.sample(objective, plane, resolution=(3, 5), tolerance=0)
    origin, first, second = plane.bound(objective.space).basis.vectors
    for (i, x), (j, y) in itertools.product(enumerate(landscape.coords[0]), enumerate(landscape.coords[1])):
        here = moved_by_hand(model, [(1, origin), (x, first), (y, second)])
        assert landscape.values["loss"][i, j] == pytest.approx(F.cross_entropy(here(X), Y).item(), rel=2e-6)
    assert landscape.values["loss"][1, 2] == F.cross_entropy(model(X), Y).item()


@pytest.mark.parametrize("make", COMPLEX)
@pytest.mark.parametrize("strategy", ["traced", "folded", "batched"])
def test_every_strategy_knows_complex_weights_or_says_that_it_does_not(make, strategy):
    from lwidgets.sampling.evaluate import Local

    model = make()
    objective = loss_of(model)
    plane = lw.Plane.random(model, span=0.5).bound(objective.space)
    rows = plane.coefficients([(0.3, -0.2), (-0.5, 0.5), (0.1, 0.4)])
    loop = list(Local(objective, plane.basis, "none", strategy="loop")(rows))
    try:
        found = list(Local(objective, plane.basis, "none", strategy=strategy)(rows))
    except Exception:  # left out, for a reason that provenance keeps
        return
    np.testing.assert_allclose(found, loop, rtol=2e-6)


@pytest.mark.parametrize("make", COMPLEX)
def test_complex_models_are_reached_from_modules_and_state_dicts_and_have_distances_and_gradients(make):
    a, b = make(), make()
    objective = loss_of(a)
    ends = [F.cross_entropy(m(X), Y).item() for m in (a, b)]
    for end in (b, b.state_dict(), State.of(b), objective.space.select(State.of(b))):
        line = lw.sample(objective, lw.Line(a, end), resolution=3, tolerance=0).values["loss"]
        assert [line[0], line[-1]] == ends
    apart = (
        sum(
            float((p - q).detach().to(torch.complex128).abs().square().sum())
            for p, q in zip(a.parameters(), b.parameters(), strict=True)
        )
        ** 0.5
    )
    for x, y in ((a, b), (a.state_dict(), b.state_dict())):
        assert lw.distances.l2(x, y) == pytest.approx(apart, rel=1e-6)
    point = objective.space.select(State.of(a))
    found = DifferentiableLoss(objective, point).gradient(point.parameters)
    F.cross_entropy(a(X), Y).backward()
    for name, parameter in a.named_parameters():
        torch.testing.assert_close(found[name], as_real(parameter.grad).contiguous(), rtol=1e-4, atol=1e-6)
    again = objective.model_at(point)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), again.parameters(), strict=True))
    assert lw.align(a, b, objective).change < 1e-6


def test_a_complex_buffer_stays_and_is_no_pair_of_reals():
    class Rotary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("turn", torch.polar(torch.ones(6), torch.randn(6)))
            self.weight = nn.Parameter(torch.randn(6, 3, dtype=torch.complex64))

        def forward(self, x):
            return ((x * self.turn) @ self.weight).real

    a, b = Rotary(), Rotary()
    b.turn.copy_(a.turn)
    objective = loss_of(a)
    assert objective.space.moved == ("weight",)
    for end in (b, b.state_dict()):
        line = lw.sample(objective, lw.Line(a, end), resolution=3, tolerance=0).values["loss"]
        assert line[-1] == F.cross_entropy(b(X), Y).item()
    line = lw.sample(objective, lw.Line(a.state_dict(), b.state_dict()), resolution=3, tolerance=0).values["loss"]
    assert line[-1] == F.cross_entropy(b(X), Y).item()


def test_pairs_of_reals_are_complex_numbers_in_the_same_memory():
    z = torch.randn(3, 2, dtype=torch.complex64)
    pairs = as_real(z)
    pairs[0, 0, 1] = 7
    assert z[0, 0].imag == 7
    assert torch.equal(as_held(pairs, z), z)
    x = torch.randn(3)
    assert as_real(x) is x
    assert as_held(x, x) is x


# --- filters


class Conv1D(nn.Module):
    """As Hugging Face's: a linear layer whose weight is (in, out)."""

    def __init__(self) -> None:
        super().__init__()
        self.nf, self.weight, self.bias = 4, nn.Parameter(torch.randn(6, 4)), nn.Parameter(torch.zeros(4))


class Experts(nn.Module):
    def __init__(self, transposed=None, bias=None, weight=(3, 8, 5), **names) -> None:
        super().__init__()
        for name, value in (names or {"num_experts": 3}).items():
            setattr(self, name, value)
        if transposed is not None:
            self.is_transposed = transposed
        self.up = nn.Parameter(torch.randn(*weight))
        if bias is not None:
            self.up_bias = nn.Parameter(torch.randn(3, bias))


def rows(w: Tensor) -> list[Tensor]:
    return [w[o] for o in range(w.shape[0])]


def columns(w: Tensor) -> list[Tensor]:
    return [w[:, o] for o in range(w.shape[1])]


def grouped(groups: int):
    def units(w: Tensor) -> list[Tensor]:
        inputs = w.shape[0] // groups
        return [w[g * inputs : (g + 1) * inputs, o] for g in range(groups) for o in range(w.shape[1])]

    return units


def expert_rows(w: Tensor) -> list[Tensor]:
    return [w[e, o] for e in range(w.shape[0]) for o in range(w.shape[1])]


def expert_columns(w: Tensor) -> list[Tensor]:
    return [w[e, :, o] for e in range(w.shape[0]) for o in range(w.shape[2])]


def up(groups=1):
    return nn.ConvTranspose2d(4, 6, 3, groups=groups)


class Halves(nn.Module):
    def forward(self, w):
        return w / 2

    def right_inverse(self, w):
        return w * 2


LAYERS = {
    "linear": (lambda: nn.Linear(5, 4), "weight", rows),
    "convolution": (lambda: nn.Conv2d(4, 6, 3, groups=2), "weight", rows),
    "bilinear": (lambda: nn.Bilinear(3, 4, 5), "weight", rows),
    "embedding": (lambda: nn.Embedding(7, 4), "weight", rows),
    "lstm": (lambda: nn.LSTM(3, 4), "weight_hh_l0", rows),
    "packed attention": (lambda: nn.MultiheadAttention(4, 2), "in_proj_weight", rows),
    "transposed convolution": (up, "weight", columns),
    "in groups": (lambda: up(2), "weight", grouped(2)),
    "weight norm": (lambda: parametrizations.weight_norm(nn.Linear(5, 4)), "parametrizations.weight.original1", rows),
    "weight norm, transposed": (
        lambda: parametrizations.weight_norm(up()),
        "parametrizations.weight.original1",
        columns,
    ),
    "weight norm, in groups": (
        lambda: parametrizations.weight_norm(up(2)),
        "parametrizations.weight.original1",
        grouped(2),
    ),
    "old weight norm, transposed": (lambda: nn.utils.weight_norm(up()), "weight_v", columns),
    "old weight norm, in groups": (lambda: nn.utils.weight_norm(up(2)), "weight_v", grouped(2)),
    "spectral norm, transposed": (
        lambda: parametrizations.spectral_norm(up()),
        "parametrizations.weight.original",
        columns,
    ),
    "old spectral norm, transposed": (lambda: nn.utils.spectral_norm(up()), "weight_orig", columns),
    "orthogonal": (lambda: parametrizations.orthogonal(nn.Linear(5, 4)), "parametrizations.weight.original", rows),
    "pruned, transposed": (lambda: prune.random_unstructured(up(), "weight", 0.5), "weight_orig", columns),
    "own parametrization, in groups": (
        lambda: parametrize.register_parametrization(up(2), "weight", Halves()),
        "parametrizations.weight.original",
        grouped(2),
    ),
    "Conv1D": (Conv1D, "weight", columns),
    "experts": (Experts, "up", expert_rows),
    "experts by another name": (lambda: Experts(n_routed_experts=3), "up", expert_rows),
    "an ensemble": (lambda: Experts(ensemble_size=3), "up", expert_rows),
    "experts that say they are transposed": (lambda: Experts(transposed=True), "up", expert_columns),
    "experts whose bias says it": (lambda: Experts(bias=5), "up", expert_columns),
    "experts whose bias does not": (lambda: Experts(bias=8), "up", expert_rows),
    "experts whose width says it": (lambda: Experts(num_experts=3, out_features=5), "up", expert_columns),
    "not as many as there are experts": (lambda: Experts(num_experts=4), "up", rows),
    "a router": (lambda: Experts(weight=(3, 8)), "up", rows),
    "complex": (lambda: nn.Linear(5, 4, dtype=torch.complex64), "weight", rows),
    "complex, in groups": (
        lambda: nn.ConvTranspose1d(4, 6, 3, groups=2, dtype=torch.complex64),
        "weight",
        grouped(2),
    ),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("kind", LAYERS)
def test_every_filter_of_a_direction_has_the_norm_of_the_models(kind):
    make, name, units = LAYERS[kind]
    model = nn.Sequential(nn.Identity(), make())
    weight = dict(model.named_parameters())[f"1.{name}"].detach()
    plane = lw.Plane.random(model)
    drawn = as_held(plane.basis.vectors[1][f"1.{name}"], weight)
    for ours, theirs in zip(units(drawn), units(weight), strict=True):
        assert ours.norm().item() == pytest.approx(theirs.norm().item(), rel=1e-5)
    raw = as_held(lw.Plane.random(model, normalize="none").basis.vectors[1][f"1.{name}"], weight)
    for ours, theirs in zip(units(drawn), units(raw), strict=True):  # and the direction that was drawn
        torch.testing.assert_close(ours / ours.norm(), theirs / theirs.norm(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "flat"),
    [
        (Experts(bias=5), {"up_bias"}),
        (Experts(bias=8), {"up_bias"}),
        (nn.Linear(3, 2, dtype=torch.complex64), {"bias"}),
        (nn.Linear(3, 2), {"bias"}),
        (Experts(weight=(3, 8)), set()),
    ],
    ids=str,
)
def test_biases_of_experts_and_complex_ones_are_left_alone_like_others_and_are_one_filter(model, flat):
    assert ParameterSpace.of_module(model).flat == flat
    vector = lw.Plane.random(model).basis.vectors[1]
    assert not flat & set(vector)
    vector = lw.Plane.random(model, zero_1d=False).basis.vectors[1]
    for name in flat:
        bias = dict(model.named_parameters())[name]
        assert vector[name].norm().item() == pytest.approx(bias.norm().item(), rel=1e-5)


def test_experts_of_a_real_mixture():
    transformers = pytest.importorskip("transformers")
    config = transformers.MixtralConfig(
        vocab_size=11, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, num_local_experts=4,
    )  # fmt: skip
    model = transformers.MixtralForCausalLM(config).eval()
    vector, weights = lw.Plane.random(model).basis.vectors[1], dict(model.named_parameters())
    found = [name for name, p in weights.items() if p.ndim == 3]
    assert len(found) == 2
    for name in found:
        torch.testing.assert_close(vector[name].norm(dim=2), weights[name].detach().norm(dim=2))
