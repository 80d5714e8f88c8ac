"""Points and the space they live in: names, ties, shapes, what moves, and messages whose advice works."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.parameters import Filters, ParameterSpace, State
from tests.models import CASES, TRANSFORMER, everything_about, make_mlp, named, same


class WithCounter(nn.Module):
    """A float weight next to a parameter that cannot move."""

    def __init__(self, odd: torch.Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.odd = nn.Parameter(odd, requires_grad=False)

    def forward(self, x):
        odd = self.odd.real if self.odd.is_complex() else self.odd
        return self.linear(x) + odd.to(x.dtype).sum()


COUNTER = torch.tensor([1, 2])
PHASE = torch.tensor([1.0 + 2.0j])


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_state_is_a_copy_that_shares_nothing_with_the_module(case):
    model = case.model()
    before, state = everything_about(model), State.of(model)
    for tensor in state.tensors.values():
        tensor.zero_()
    assert same(before, everything_about(model))


def test_a_state_dict_a_module_and_a_state_are_the_same_point():
    model = CASES[1].model()
    of_module, of_dict = State.of(model), State.of(model.state_dict())
    assert same(dict(of_module.parameters), dict(of_dict.parameters))
    assert same(dict(of_module.buffers), dict(of_dict.buffers))
    assert State.of(of_module) is of_module


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
def test_prefixes_of_parallel_and_compiled_wrappers_are_taken_off(prefix):
    model = make_mlp()
    wrapped = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    assert same(dict(State.of(wrapped).parameters), named(model))


def test_a_model_whose_own_child_is_called_module_takes_its_own_state_dict():
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(3, 2)

        def forward(self, x):
            return self.module(x)

    model, x, y = Wrapper(), torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1])
    objective = lw.Objective(model, (x, y), loss=F.cross_entropy)
    assert objective.measure(model.state_dict())["loss"] == F.cross_entropy(model(x), y).item()


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (
            3,
            TypeError,
            "source must be a module, a state dict, a checkpoint path or a 1-D tensor, array or list of numbers, got",
        ),
        ({}, ValueError, "state dict must hold tensors, got none"),
        ({"epoch": 3}, ValueError, "Pass the dict that state_dict"),
        (torch.zeros(2, 2), ValueError, r"a vector must have shape \(dim,\), got \(2, 2\)"),
    ],
)
def test_what_is_no_point_is_refused_by_name(source, error, message):
    with pytest.raises(error, match=message):
        State.of(source)


def test_globs_choose_what_moves_and_an_exclamation_mark_what_does_not():
    model = make_mlp()
    assert ParameterSpace.of_module(model, "0.*").moved == ("0.weight", "0.bias")
    assert ParameterSpace.of_module(model, ["*.weight", "!2.*"]).moved == ("0.weight", "4.weight")
    assert ParameterSpace.of_module(model, "!*.bias").moved == ("0.weight", "2.weight", "4.weight")
    assert ParameterSpace.of_module(model, "0.*").size == 6 * 16 + 16


def test_unknown_names_are_refused_and_the_names_in_the_message_work():
    model = make_mlp()
    with pytest.raises(
        ValueError, match=r"params must match at least one parameter name, got \['hidden.*'\]"
    ) as caught:
        ParameterSpace.of_module(model, "hidden.*")
    offered = str(caught.value).partition("The names are ")[2].rstrip(".").split(", ")
    assert ParameterSpace.of_module(model, offered).moved == tuple(dict(model.named_parameters()))


@pytest.mark.parametrize("odd", [COUNTER, torch.tensor([True]), torch.ones(2).to(torch.float8_e4m3fn)], ids=str)
def test_trap_10_weights_without_arithmetic_stay_and_are_refused_by_name_where_they_are_asked_for(odd):
    model, data = WithCounter(odd), (torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1]))
    objective = lw.Objective(model, data, loss=F.cross_entropy)
    assert objective.space.moved == ("linear.weight", "linear.bias")
    assert repr(objective).endswith(f"; 8 of {8 + len(odd)} numbers move ({len(odd)} frozen))")
    with pytest.raises(TypeError, match=r"parameter 'odd' must be floating point of 16 bits or more") as caught:
        lw.Objective(model, data, loss=F.cross_entropy, params="*")
    assert "params=['*', '!odd']" in str(caught.value)
    objective = lw.Objective(model, data, loss=F.cross_entropy, params=["*", "!odd"])
    assert objective.measure(model)["loss"] == F.cross_entropy(model(data[0]), data[1]).item()


@pytest.mark.parametrize("odd", [COUNTER, PHASE], ids=["integer", "complex"])
def test_trap_10_a_subspace_of_modules_with_a_left_out_parameter_can_be_built_and_sampled(odd):
    a, b = WithCounter(odd.clone()), WithCounter(odd.clone())
    data = (torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1]))
    objective = lw.Objective(a, data, loss=F.cross_entropy, params=["*", "!odd"])
    landscape = lw.sample(objective, lw.Line(a, b), resolution=5, tolerance=0)
    assert landscape.values["loss"][0] == F.cross_entropy(a(data[0]), data[1]).item()
    plane = lw.sample(objective, lw.Plane.random(a), resolution=(3, 5), tolerance=0)
    assert plane.values["loss"][1, 2] == landscape.values["loss"][0]


def test_trap_10_tied_weights_count_once_and_either_name_will_do():
    model = TRANSFORMER.model()
    space = ParameterSpace.of_module(model)
    assert space.aliases == {"output.weight": "embedding.weight"}
    assert "output.weight" not in space.moved
    assert space.size == sum(p.numel() for p in model.parameters())
    full = model.state_dict()
    for left_out in ("output.weight", "embedding.weight"):
        partial = {name: t for name, t in full.items() if name != left_out}
        assert torch.equal(space.select(State.of(partial)).parameters["embedding.weight"], model.embedding.weight)


def test_a_point_of_another_architecture_is_refused_with_key_and_both_shapes():
    space = ParameterSpace.of_module(make_mlp())
    other = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 3))
    with pytest.raises(ValueError, match=r"key '2.weight' must have shape \(12, 16\), got \(9, 16\)"):
        space.select(State.of(other))


def test_missing_renamed_and_unknown_keys_are_named_and_counted():
    model = make_mlp()
    space, tensors = ParameterSpace.of_module(model), dict(model.state_dict())
    tensors["0.weights"] = tensors.pop("0.weight")
    with pytest.raises(ValueError, match=r"got 2 mismatched keys") as caught:
        space.select(State.of(tensors))
    assert "key '0.weight' of shape (16, 6) is missing (is it '0.weights'?)" in str(caught.value)
    assert "key '0.weights' is not one of the model's" in str(caught.value)
    tensors["0.weight"] = tensors.pop("0.weights")
    space.select(State.of(tensors))


def test_one_mismatched_key_is_told_in_one_sentence():
    tensors = dict(make_mlp().state_dict())
    del tensors["4.bias"]
    with pytest.raises(ValueError, match=r"^Subspace: state dict must fit the objective's model: key '4.bias'"):
        ParameterSpace.of_module(make_mlp()).select(State.of(tensors))


def test_points_are_cast_to_the_dtype_of_the_space():
    space = ParameterSpace.of_module(make_mlp().double())
    point = space.select(State.of(make_mlp()))
    assert {t.dtype for t in point.parameters.values()} == {torch.float64}


@pytest.mark.parametrize(
    ("dims", "groups", "count"),
    [((0,), 1, 6), ((1,), 1, 4), ((1,), 2, 8), ((1,), 3, 12), ((0, 1), 1, 24), ((0, 2), 1, 18), ((), 1, 1)],
)
def test_filters_scale_undoes_what_split_measures(dims, groups, count):
    tensor = torch.randn(6, 4, 3, 5, dtype=torch.float64)
    layout = Filters(dims, groups)
    norms = layout.split(tensor).norm(dim=1)
    assert len(norms) == count
    np.testing.assert_allclose(layout.split(layout.scale(tensor, 1 / norms)).norm(dim=1), 1.0, rtol=1e-12)
    assert layout.split(tensor).shape[0] * layout.split(tensor).shape[1] == tensor.numel()
