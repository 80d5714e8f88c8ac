"""Directions: what is drawn, and how it is scaled, against double loops over filters."""

import random

import numpy as np
import pytest
import torch
from torch import nn

import lwidgets as lw
from lwidgets.directions import Gaussian, gaussian, normalize
from lwidgets.parameters import ParameterSpace, State
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
