"""A State is names to tensors: what takes a state dict takes a State."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

import lwidgets as lw
from tests.models import CNN, MLP


class Rotating(nn.Module):
    """A head tied to its embedding, whole numbers and a table as buffers, of which one is in no state dict."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(7, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("order", torch.randperm(4))
        self.register_buffer("table", torch.randn(4), persistent=False)
        with torch.no_grad():
            self.norm.running_mean.normal_()
            self.norm.num_batches_tracked.fill_(seed + 3)

    def forward(self, tokens):
        return self.head(self.norm(self.embedding(tokens))[:, self.order] * self.table)


class Complex(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(3, 2, dtype=torch.complex64))

    def forward(self, x):
        return (x.to(self.weight.dtype) @ self.weight).abs()


TOKENS = torch.arange(7)
KINDS = {
    "mlp": (MLP.model, MLP.samples()[0]),
    "batchnorm": (CNN.model, CNN.samples()[0]),
    "tied": (Rotating, TOKENS),
    "complex": (Complex, torch.ones(5, 3)),
}


@pytest.fixture(params=KINDS)
def kind(request):
    make, inputs = KINDS[request.param]
    return make(0).eval(), make(1).eval(), inputs


def states_of(model, inputs):
    """The model as a State: read from it, selected by its objective, and as the point of a subspace."""
    objective = lw.Objective(model, [inputs], loss=lambda m, batch: m(batch).square().mean())
    state = lw.State.of(model)
    yield state
    yield objective.space.select(state)
    yield lw.Line(model, copy.deepcopy(model)).bound(objective.space).point([0.5])
    yield pickle.loads(pickle.dumps(state))
    yield copy.deepcopy(objective.space.select(state))


@pytest.mark.filterwarnings("ignore:.*Line.*:UserWarning")
def test_load_state_dict_and_functional_call_take_it(kind):
    there, here, inputs = kind
    truth = there(inputs)
    for name, buffer in here.named_buffers():  # what no state dict has is the model's own
        if name == "table":
            buffer.copy_(there.get_buffer(name))
    for state in states_of(there, inputs):
        model = copy.deepcopy(here)
        before = model(inputs)
        torch.testing.assert_close(functional_call(model, state, (inputs,)), truth)
        torch.testing.assert_close(model(inputs), before, rtol=0, atol=0)
        assert str(model.load_state_dict(state)) == "<All keys matched successfully>"
        torch.testing.assert_close(model(inputs), truth)
        for name, tensor in there.state_dict().items():
            assert model.state_dict()[name].dtype == tensor.dtype
            torch.testing.assert_close(model.state_dict()[name], tensor)


def test_it_holds_parameters_then_buffers_and_ties_under_each_name():
    state = lw.State.of(Rotating())
    assert list(state) == [
        "embedding.weight", "norm.weight", "norm.bias", "head.weight",
        "order", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
    ]  # fmt: skip
    assert state["head.weight"] is state["embedding.weight"]
    assert set(state) == set(Rotating().state_dict())
    assert "table" in state.buffers
    assert state["order"].dtype == state["norm.num_batches_tracked"].dtype == torch.int64
    assert {name: tensor.data_ptr() for name, tensor in state.parameters.items()} == {
        name: state[name].data_ptr() for name in state.parameters
    }, "no copies"


def test_a_state_of_a_state_dict_gives_that_back():
    source = CNN.model().state_dict()
    state = lw.State.of(source)
    assert state.keys() == source.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in source.items())
    assert lw.State.of(dict(state)).keys() == source.keys()


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update({"x": torch.zeros(1)}),
        lambda s: s.pop("x"),
        lambda s: s.popitem(),
        lambda s: s.clear(),
        lambda s: s.setdefault("y", torch.zeros(1)),
        lambda s: s.__setitem__("x", torch.zeros(1)),
        lambda s: s.__delitem__("x"),
        lambda s: s.__ior__({"x": torch.zeros(1)}),
    ],
)
def test_it_cannot_be_changed(change):
    state = lw.State.of([1.0, 2.0])
    with pytest.raises(TypeError, match=r"State: a point must stay as it is"):
        change(state)
    assert state["x"].tolist() == [1.0, 2.0]


def test_a_module_that_puts_another_tensor_in_place_needs_a_copy():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            self.seen = self.seen + 1
            return x @ self.weight

    state = lw.State.of(Counting())
    with pytest.raises(TypeError, match=r"Change a copy: dict\(state\)"):
        functional_call(Counting(), state, (torch.ones(2),))
    assert state["seen"] == 0
    assert functional_call(Counting(), dict(state), (torch.ones(2),)) == 2


def test_it_is_equal_to_itself_alone_and_can_be_a_key():
    a, b = lw.State.of([1.0]), lw.State.of([1.0])
    assert a == a
    assert a != b
    assert len({a, b, a}) == 2


@pytest.mark.parametrize(
    "given",
    [
        [1, 2.5],
        (1, 2.5),
        np.array([1, 2.5]),
        np.array([1, 2.5], np.float32),
        torch.tensor([1, 2.5]),
        [np.float64(1), 2.5],
        [torch.tensor(1.0), torch.tensor(2.5)],
    ],
    ids=str,
)
def test_points_of_analytic_objectives_are_lists_arrays_or_tensors(given):
    state = lw.State.of(given)
    assert state.parameters["x"].dtype == torch.float64
    assert state.parameters["x"].tolist() == [1.0, 2.5]
    bowl = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2)
    assert bowl.measure(given)["loss"] == 7.25


def test_numbers_are_taken_in_double_and_copied():
    exact = [1.39955415, 0.1]
    assert lw.State.of(exact).parameters["x"].tolist() == exact
    array = np.array(exact)
    state = lw.State.of(array)
    array[:] = 0
    assert state.parameters["x"].tolist() == exact


def test_lists_are_points_wherever_points_go():
    bowl = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2)
    line = lw.sample(bowl, lw.Line([0, 0], np.array([1.0, 1.0])), resolution=3, tolerance=0)
    np.testing.assert_allclose(line.values["loss"], [0, 0.5, 2])
    plane = lw.Subspace.identity(2)
    coordinates, residual = plane.project([0.25, -1])
    np.testing.assert_allclose(coordinates, [0.25, -1])
    assert residual == pytest.approx(0)
    coordinates, residuals = plane.project([[0.25, -1], np.array([0.5, 0.5])])
    np.testing.assert_allclose(coordinates, [[0.25, -1], [0.5, 0.5]])
    np.testing.assert_allclose(residuals, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ([[1.0, 2.0]], ValueError, r"must have shape \(dim,\), got \(1, 2\)"),
        (np.zeros((2, 2)), ValueError, r"must have shape \(dim,\), got \(2, 2\)"),
        (["a"], TypeError, r"got list of something else"),
        ([[1.0], [1.0, 2.0]], TypeError, r"got list of something else"),
        ([nn.Linear(1, 1)], TypeError, r"got list of something else .* Pass one point at a time"),
        ([1j], TypeError, r"got list of something else"),
        (np.array(["a"]), TypeError, r"got ndarray of something else"),
        (None, TypeError, r"got NoneType"),
    ],
)
def test_what_is_no_point_is_refused(given, error, words):
    with pytest.raises(error, match=rf"^State\.of: .*{words}"):
        lw.State.of(given)
