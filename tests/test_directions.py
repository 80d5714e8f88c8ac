"""Directions: what is drawn, and how it is scaled, against double loops over filters."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

import lwidgets as lw
from lwidgets.directions import Gaussian, gaussian, normalize, unmoved
from lwidgets.normals import GENERATOR, normals
from lwidgets.parameters import Filters, ParameterSpace, State
from tests.models import CNN, MLP, TRANSFORMER


def vector(model, seed=0, normalize="filter", params=None, **options):
    space = ParameterSpace.of_module(model, params)
    return lw.Gaussian(seed, normalize, **options).vector(State.of(model), space)


def along_dim_0(weight):
    """One filter for each row: index tuples."""
    return [(i,) for i in range(weight.shape[0])]


def transposed(groups):
    """One filter for each (group, output): the slice of the group's inputs."""

    def filters(weight):
        inputs = weight.shape[0] // groups
        return [(slice(g * inputs, (g + 1) * inputs), o) for g in range(groups) for o in range(weight.shape[1])]

    return filters


LAYERS = {
    "linear": (nn.Linear(5, 7), "weight", along_dim_0),
    "conv1d": (nn.Conv1d(3, 4, 5), "weight", along_dim_0),
    "conv2d": (nn.Conv2d(3, 4, (2, 5)), "weight", along_dim_0),
    "grouped conv2d": (nn.Conv2d(4, 6, 3, groups=2), "weight", along_dim_0),
    "transposed conv1d": (nn.ConvTranspose1d(3, 5, 4), "weight", transposed(1)),
    "transposed conv2d": (nn.ConvTranspose2d(3, 5, (4, 2)), "weight", transposed(1)),
    "grouped transposed conv2d": (nn.ConvTranspose2d(6, 4, 3, groups=2), "weight", transposed(2)),
    "depthwise transposed conv2d": (nn.ConvTranspose2d(4, 8, 3, groups=4), "weight", transposed(4)),
    "packed qkv": (nn.MultiheadAttention(8, 2), "in_proj_weight", along_dim_0),
    "embedding": (nn.Embedding(9, 4), "weight", along_dim_0),
    "lstm": (nn.LSTM(3, 5), "weight_hh_l0", along_dim_0),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("wrap", [False, True], ids=["bare", "nested"])
def test_trap_3_every_filter_gets_the_norm_of_the_weights_filter(layer, wrap):
    module, name, filters = LAYERS[layer]
    if wrap:
        module, name = nn.Sequential(nn.Identity(), module), f"1.{name}"
    weight = dict(module.named_parameters())[name].detach()
    drawn, scaled = gaussian(0, name, weight.shape), vector(module)[name]
    for at in filters(weight):  # a plain double loop: a filter, then its entries
        factor = (weight[at].double() ** 2).sum().sqrt() / (drawn[at].double() ** 2).sum().sqrt()
        np.testing.assert_allclose(scaled[at], factor * drawn[at].double(), rtol=2e-6)


@pytest.mark.parametrize("layer", ["linear", "conv2d", "grouped transposed conv2d"])
def test_trap_3_a_filter_of_zeros_stays_zero(layer):
    module, name, filters = LAYERS[layer]
    module = (
        nn.Sequential(type(module)(*(getattr(module, a) for a in ("in_features", "out_features"))))
        if layer == "linear"
        else module
    )
    name = "0.weight" if layer == "linear" else name
    parameter = dict(module.named_parameters())[name]
    at = filters(parameter)[1]
    with torch.no_grad():
        parameter[at] = 0.0
    scaled = vector(module)[name]
    assert not scaled[at].any()
    assert scaled.isfinite().all()
    assert scaled[filters(parameter)[0]].any()


@pytest.mark.parametrize("kind", ["filter", "layer", "model", "none"])
def test_trap_3_a_direction_of_zeros_stays_zero_and_finite(kind):
    zeros, ones = {"w": torch.zeros(3, 2)}, {"w": torch.ones(3, 2)}
    for direction, weights in ((zeros, ones), (zeros, zeros)):
        assert torch.equal(normalize(direction, weights, kind)["w"], zeros["w"])


@pytest.mark.parametrize("case", [MLP, CNN, TRANSFORMER], ids=lambda c: c.name)
def test_trap_3_biases_and_norm_scales_are_left_alone_and_the_user_is_told(case):
    model = case.model()
    flat = {name for name, p in model.named_parameters() if p.ndim < 2}
    assert flat
    assert flat.isdisjoint(vector(model))
    landscape = lw.sample(case.objective(), lw.Plane.random(model), resolution=3)
    assert set(landscape.provenance["subspace"]["zeroed"]) == flat
    moving = lw.sample(case.objective(), lw.Plane.random(model, zero_1d=False), resolution=3)
    assert moving.provenance["subspace"]["zeroed"] == []
    assert vector(model, zero_1d=False).keys() == dict(model.named_parameters()).keys()


def test_layer_model_and_no_normalisation_are_what_they_say():
    model = CNN.model()
    weights = {n: p.detach() for n, p in model.named_parameters() if p.ndim > 1}
    for name, d in vector(model, normalize="layer").items():
        assert d.norm().item() == pytest.approx(weights[name].norm().item(), rel=1e-6)
    whole = vector(model, normalize="model")
    total = torch.cat([d.flatten() for d in whole.values()]).norm().item()
    assert total == pytest.approx(torch.cat([w.flatten() for w in weights.values()]).norm().item(), rel=1e-6)
    raw = vector(model, normalize="none")
    assert all(torch.equal(d, gaussian(0, name, d.shape)) for name, d in raw.items())
    ratios = [(whole[name] / raw[name]).flatten() for name in raw]
    assert torch.cat(ratios).std() < 1e-6


def test_trap_4_a_seed_is_the_same_whatever_else_is_in_the_model_or_filtered_out():
    whole = vector(MLP.model())
    only = vector(MLP.model(), params="2.*")
    assert torch.equal(only["2.weight"], whole["2.weight"])
    longer = nn.Sequential(*MLP.model(), nn.Linear(3, 3))
    assert torch.equal(vector(longer)["2.weight"], whole["2.weight"])


def test_trap_4_directions_do_not_depend_on_the_dtype():
    single = vector(CNN.model())
    double = vector(CNN.model(dtype=torch.float64))
    half = vector(CNN.model().bfloat16())
    for name in single:
        np.testing.assert_allclose(double[name], single[name], rtol=1e-6)
        np.testing.assert_allclose(half[name].float(), single[name], rtol=2e-2)
        assert half[name].dtype == torch.bfloat16


def test_trap_4_seed_0_is_a_seed():
    first, again, other = (vector(MLP.model(), seed) for seed in (0, 0, 1))
    torch.manual_seed(123)  # a direction that fell back on the global generator would change now
    later = vector(MLP.model(), 0)
    for name in first:
        assert torch.equal(first[name], again[name])
        assert torch.equal(first[name], later[name])
        assert not torch.equal(first[name], other[name])


def test_trap_4_tensors_of_one_shape_get_different_numbers():
    model = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    drawn = vector(model, normalize="none")
    assert abs(np.corrcoef(drawn["0.weight"].ravel(), drawn["1.weight"].ravel())[0, 1]) < 0.6


def test_trap_4_drawn_numbers_are_standard_normal():
    numbers = gaussian(3, "w", (400, 500)).double()
    assert abs(numbers.mean()) < 5 / 200_000**0.5
    assert abs(numbers.var() - 1) < 5 * (2 / 200_000) ** 0.5
    assert abs((numbers**4).mean() - 3) < 0.1


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 0), (2, 3, 4)])
def test_trap_4_a_tensor_is_its_stream_in_order(shape):
    drawn = gaussian(-5, "w", shape, draw=2)
    assert drawn.dtype == torch.float32
    assert drawn.shape == shape
    assert drawn.flatten().tolist() == normals(-5, "w", drawn.numel(), 2).tolist()
    assert gaussian(-5, "w", torch.Size(shape), draw=2).tolist() == drawn.tolist()


def test_trap_4_the_generator_is_named_where_something_is_drawn_and_nowhere_else():
    model = MLP.model()
    for drawn in (lw.Plane.random(model), lw.Line.random(model, 3)):
        assert drawn.provenance()["generator"] == GENERATOR
    for known in (lw.Line(model, model), lw.Plane.spanned(model, model, model)):
        assert "generator" not in known.provenance()


def test_trap_4_drawing_leaves_the_global_generators_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    vector(CNN.model())
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert before[2] == random.getstate()


def test_norms_of_half_precision_do_not_overflow():
    model = nn.Linear(4000, 2).half()
    with torch.no_grad():
        model.weight.fill_(300.0)  # the sum of squares, 3.6e8, is beyond float16
    np.testing.assert_allclose(vector(model)["weight"].double().norm(dim=1), 300 * 4000**0.5, rtol=2e-3)
    across, drawn = model.weight.detach().T.contiguous(), gaussian(0, "w", (4000, 2)).half()
    scaled = normalize({"w": drawn}, {"w": across}, "filter", {"w": Filters((1,))})["w"]
    np.testing.assert_allclose(scaled.double().norm(dim=0), 300 * 4000**0.5, rtol=2e-3)


def test_unknown_normalisation_seed_and_empty_directions_are_refused():
    with pytest.raises(ValueError, match=r"normalize must be one of filter, layer, model, none, got 'filters'"):
        Gaussian(0, "filters")
    for seed in (True, 1.5, "0", None):
        with pytest.raises(TypeError, match=r"seed must be an integer, got"):
            Gaussian(seed)
    with pytest.raises(ValueError, match=r"Pass zero_1d=False"):
        vector(MLP.model(), params="*.bias")
    assert vector(MLP.model(), params="*.bias", zero_1d=False)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 4)])
def test_a_weight_without_entries_has_filters_without_entries(shape):
    model = nn.Linear(3, 2)
    model.nothing = nn.Parameter(torch.empty(shape))
    for kind in ("filter", "layer", "model"):
        direction = lw.Plane.random(model, (0, 1), normalize=kind).basis.vectors[1]
        assert direction["nothing"].shape == shape
        assert direction["weight"].norm() > 0


def of_zeros(weight, at):
    """How many numbers lie in filters of zeros, by a loop over filters and one over entries."""
    return sum(weight[i].numel() for i in at(weight) if all(entry == 0 for entry in weight[i].flatten().tolist()))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("zeros", ["none", "one entry", "one filter", "all but one", "all"])
def test_what_stays_because_its_weights_are_zero_is_counted_and_stays(layer, zeros):
    module, name, filters = LAYERS[layer]
    module = copy.deepcopy(module)
    weight = dict(module.named_parameters())[name]
    with torch.no_grad():
        places = filters(weight)
        for at in {"one filter": places[1:2], "all but one": places[1:], "all": places}.get(zeros, []):
            weight[at] = 0.0
        if zeros == "one entry":
            weight.view(-1)[0] = 0.0
    space, state = ParameterSpace.of_module(module, name), State.of(module)
    counted = Gaussian(0).unmoved(state, space)
    assert counted.get(name, 0) == of_zeros(weight.detach(), filters)
    assert all(counted.values())
    assert int((vector(module, params=name)[name] == 0).sum()) == counted.get(name, 0)
    for kind in ("layer", "model"):
        assert Gaussian(0, kind).unmoved(state, space) == ({name: weight.numel()} if zeros == "all" else {})
    assert Gaussian(0, "none").unmoved(state, space) == {}


def test_what_stays_of_several_tensors_and_of_those_without_axes_or_entries():
    weights = {
        "up": torch.tensor([[0.0, 1.0], [0.0, 0.0]]),
        "down": torch.zeros(2, 3),
        "across": torch.tensor([[0.0, 0.0, 2.0], [0.0, -0.0, 0.0]]),
        "bias": torch.zeros(4),
        "scale": torch.zeros(()),
        "nothing": torch.zeros(0, 3),
        "wide": torch.zeros(3, 0),
        "unknown": torch.tensor([[0.0, float("nan")], [0.0, float("inf")]]),
    }
    ones = {"bias": 4, "scale": 1, "down": 6}
    assert unmoved(weights, "filter", {"across": Filters((1,))}) == {**ones, "up": 2, "across": 4}
    assert unmoved(weights, "layer") == ones
    assert unmoved(weights, "model") == unmoved(weights, "none") == {}
    assert unmoved({"down": torch.zeros(2, 3)}, "model") == {"down": 6}


class Adapted(nn.Module):
    """A layer with a fresh low-rank update, whose second factor is zero."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.lora_A, self.lora_B = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.zeros(3, 2))

    def forward(self, x):
        return self.layer(x) + x @ self.lora_A.T @ self.lora_B.T


def test_a_fresh_adapter_is_said_to_stay_and_both_ways_out_work():
    model, x = Adapted(), torch.randn(6, 4)
    objective = lw.Objective(model, (x, torch.randn(6, 3)), loss=nn.functional.mse_loss, params="lora_*")
    with pytest.warns(
        UserWarning, match=r"Plane: weights .* got 6 numbers that stay .*: lora_B \(6 of 6\)\. Pass norm"
    ):
        landscape = lw.sample(objective, lw.Plane.random(model), resolution=3)
    assert landscape.provenance["subspace"]["unmoved"] == {"lora_B": 6}
    assert np.ptp(landscape.values["loss"]) < 1e-6  # B A is zero wherever A is
    untied = lw.sample(objective, lw.Plane.random(model, normalize="none", span=0.1), resolution=3)
    with torch.no_grad():
        model.lora_B.normal_()
    trained = lw.sample(objective, lw.Plane.random(model), resolution=3)
    for moved in (untied, trained):
        assert moved.provenance["subspace"]["unmoved"] == {}
        assert np.ptp(moved.values["loss"]) > 1e-3


def test_what_an_objective_does_not_move_and_given_directions_are_not_said_to_stay():
    model, x = Adapted(), torch.randn(6, 4)
    objective = lw.Objective(model, (x, torch.randn(6, 3)), loss=nn.functional.mse_loss, params="layer.*")
    assert lw.sample(objective, lw.Plane.random(model), resolution=3).provenance["subspace"]["unmoved"] == {}
    for known in (lw.Line(model, Adapted()), lw.Plane.spanned(model, Adapted(), Adapted())):
        assert known.unmoved == {}
        assert known.told_unmoved() == ""


def test_many_tensors_that_stay_are_five_names_and_a_number():
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(7)))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    told = lw.Line.random(model, zero_1d=False).told_unmoved()
    assert "42 numbers" in told
    assert "0.weight (4 of 4), 0.bias (2 of 2), " in told
    assert "2.weight (4 of 4) and 9 more tensors. Pass" in told


@pytest.mark.parametrize("shape", [(3, 70_000), (70_000, 3), (500, 400), (1, 9), (9, 1), (33, 2, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_filters_across_memory_are_scaled_like_any_others(shape, dtype):
    weight, drawn = torch.randn(shape).to(dtype), gaussian(1, "w", shape).to(dtype)
    kept = weight.clone(), drawn.clone()
    scaled = normalize({"w": drawn}, {"w": weight}, "filter", {"w": Filters((1,))})["w"].double().numpy()
    assert torch.equal(weight, kept[0])
    assert torch.equal(drawn, kept[1])
    w, d = (np.moveaxis(t.double().numpy(), 1, 0).reshape(shape[1], -1) for t in (weight, drawn))
    factors = np.sqrt((w**2).sum(1) / (d**2).sum(1))
    expected = np.moveaxis(drawn.double().numpy(), 1, -1) * factors
    rtol = {torch.float32: 2e-6, torch.float64: 1e-12, torch.bfloat16: 2e-2}[dtype]
    np.testing.assert_allclose(np.moveaxis(scaled, 1, -1), expected, rtol=rtol)
