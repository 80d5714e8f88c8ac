"""One protocol, its siblings, and what belongs to one objective and to no other."""

import copy
import gc
import inspect
import pickle
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.landscape import Sampling
from lwidgets.objective import FunctionObjective, ModelObjective, Objective, modelled
from lwidgets.parameters import VECTOR, ParameterSpace
from lwidgets.pictures import stills
from lwidgets.sampling import evaluate
from lwidgets.sampling.evaluate import Local, plans_of
from lwidgets.sampling.identity import identity
from lwidgets.studies.parts import checks
from tests.models import MLP

X, Y = MLP.samples()


def bowl(u):
    return (u**2).sum(dim=1)


class Table(Objective):
    """A sibling from outside the library: what somebody has measured, looked up at the nearest place."""

    names = ("loss",)

    def __init__(self, rows):
        self.space = ParameterSpace.of_vector(2)
        self.rows = rows
        self.asked = 0

    @property
    def reads(self):
        return (self.rows,)

    def provenance(self):
        return {"table": len(self.rows)}

    def evaluate(self, basis, coefficients, *, batchnorm="none"):
        for row in coefficients:
            yield self.measure(basis.point(row))

    def measure(self, source, batchnorm="none"):
        self.asked += 1
        place = lw.State.of(source).parameters[VECTOR].numpy()
        return {"loss": min((float(np.abs(place - at).sum()), value) for *at, value in self.rows)[1]}


def test_both_siblings_are_objectives_and_neither_is_the_other():
    model, function = lw.Objective(MLP.model(), (X, Y), loss=F.cross_entropy), lw.Objective.from_function(bowl, dim=2)
    assert isinstance(model, lw.Objective)
    assert isinstance(function, lw.Objective)
    assert (type(model), type(function)) == (ModelObjective, FunctionObjective)
    assert (model.has_model, function.has_model) == (True, False)
    assert (model.samples, function.samples) == (len(X), 0)
    assert list(inspect.signature(lw.Objective).parameters)[:3] == ["model", "data", "loss"]
    with pytest.raises(TypeError, match="loss"):
        lw.Objective(MLP.model(), (X, Y))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_of_both_measure_the_same(copied):
    model = MLP.model()
    for objective, point in (
        (lw.Objective(model, (X, Y), loss=F.cross_entropy), model),
        (lw.Objective.from_function(bowl, dim=2), [1.0, 2.0]),
    ):
        assert copied(objective).measure(point) == objective.measure(point)


@pytest.mark.parametrize(
    "use",
    [
        lambda o: o.on((X, Y)),
        lambda o: o.with_model(MLP.model()),
        lambda o: o.model_at(lw.State.of([0, 0])),
    ],
    ids=["on", "with_model", "model_at"],
)
def test_what_needs_a_model_is_refused_in_words(use):
    function = lw.Objective.from_function(bowl, dim=2)
    with pytest.raises(TypeError, match=r"^Objective\.\w+: objective must have a model and data, got .*bowl.* without"):
        use(function)


@pytest.mark.parametrize("name", ["module", "data", "train", "weight"])
def test_an_attribute_of_a_model_is_not_there_in_words(name):
    function = lw.Objective.from_function(bowl, dim=2)
    assert not hasattr(function, name)
    with pytest.raises(AttributeError, match=rf"Objective\.{name}: objective must have a model and data"):
        getattr(function, name)


def test_who_needs_a_model_says_so():
    function = lw.Objective.from_function(bowl, dim=2)
    with pytest.raises(ValueError, match=r"^align: objective must have a model, got an analytic one\. Use Objective\("):
        modelled(function, "align")
    with pytest.raises(ValueError, match=r"^recast: objective must have a model, got a Table\."):
        modelled(Table([(0, 0, 1.0)]), "recast")


def test_a_sibling_from_outside_is_sampled_checked_and_remembered():
    table = Table([(x, y, x * x + y) for x in np.linspace(-1, 1, 5) for y in np.linspace(-1, 1, 5)])
    plane = lw.Subspace.identity(2)
    landscape = lw.sample(table, plane, resolution=5, tolerance=0)
    np.testing.assert_allclose(landscape.values["loss"], np.add.outer(landscape.coords[0] ** 2, landscape.coords[1]))
    asked = table.asked
    assert lw.sample(table, plane, resolution=5, tolerance=0).provenance["sampling"]["remembered"] == 25
    assert table.asked == asked
    assert checks.reproduces(table, plane, landscape).detail == "no model lies in the picture"
    other = Table([(x, y, 1.0) for x, y, _ in table.rows])
    assert identity(other, plane.basis, "none") != identity(table, plane.basis, "none")
    assert pickle.loads(pickle.dumps(table)).measure([0.5, 1]) == table.measure([0.5, 1])
    with pytest.raises(NotImplementedError, match=r"a subclass must define loss_at, got Table without"):
        lw.DifferentiableLoss(table, lw.State.of([0, 0]))


def test_what_an_objective_reads_and_takes_is_asked_of_it():
    model, function = lw.Objective(MLP.model(), (X, Y), loss=F.cross_entropy), lw.Objective.from_function(bowl, dim=2)
    assert function.reads == (bowl,)
    assert [takes_model for takes_model, _ in model.reads] == [False]
    assert (function.data_read("none"), model.data_read("frozen")) == ((), (model.data,))
    part = model.on((X[:8], Y[:8]))
    assert part.data_read("recalibrate") == (part.data, model.data)
    assert list(function.batches) == [(None, 1.0)]
    assert list(function.examples(5)) == [None]
    assert next(function.mini_batches(5, np.random.default_rng(0))) is None
    assert [len(x) for x, _ in model.examples(3)] == [1, 1, 1]


# What sampling finds out belongs to one objective.


@pytest.fixture
def by_graph(monkeypatch):
    """A graph wherever there is one, however fast the loop is on this machine today."""
    monkeypatch.setattr(evaluate.Plan, "next", lambda self, strategies, counts: (strategies[-1], counts[0]))


def loops(objective, plane, landscape):
    points = np.stack(np.meshgrid(*landscape.coords, indexing="ij"), axis=-1).reshape(-1, 2)
    bound = plane.bound(objective.space)
    values = [v["loss"] for v in objective.evaluate(bound.basis, bound.coefficients(points), batchnorm="none")]
    return np.reshape(values, landscape.shape)


def test_held_out_data_are_never_measured_by_the_plan_of_the_training_data(by_graph):
    held_out = (X[:30] + 1, Y[:30].flip(0))
    objective = lw.Objective(MLP.model(), (X, Y), loss=F.cross_entropy, test=held_out)
    plane = lw.Plane.random(objective.module, (0, 1))
    for each in (objective, objective.test, objective.on(held_out)):
        assert not plans_of(each)
        found = lw.sample(each, plane, resolution=9, tolerance=0, cache=False)
        assert any(plan.verified for plan in plans_of(each).values()), "it was a graph that measured"
        np.testing.assert_allclose(found.values["loss"], loops(each, plane, found), rtol=1e-5)
    plans = [plan for each in (objective, objective.test) for plan in plans_of(each).values()]
    assert len({id(plan.programs) for plan in plans}) == len(plans) == 2


def test_no_variant_of_an_objective_shares_its_plans():
    objective = lw.Objective(MLP.model(), (X, Y), loss=F.cross_entropy)
    local = Local(objective, lw.Plane.random(objective.module, (0, 1)).bound(objective.space).basis, "none")
    assert local.plan is next(iter(plans_of(objective).values()))
    variants = [
        objective.on((X[:8], Y[:8])),
        objective.with_model(MLP.model(1)),
        objective.part(16),
        copy.copy(objective),
        pickle.loads(pickle.dumps(objective)),
    ]
    for variant in variants:
        assert plans_of(variant) == {}
    assert not any("plan" in name for name in vars(objective))


def test_plans_go_when_their_objective_goes(by_graph):
    objective = lw.Objective(MLP.model(), (X, Y), loss=F.cross_entropy)
    lw.sample(objective, lw.Plane.random(objective.module, (0, 1)), resolution=9, tolerance=0, cache=False)
    (plan,) = plans_of(objective).values()
    assert plan.programs is not None, "which are made from the objective"
    gone, plan = weakref.ref(objective), weakref.ref(plan.programs)
    del objective
    gc.collect()
    assert (gone(), plan()) == (None, None)


# What is decided on is a field of the landscape.


def test_the_facts_of_sampling_are_fields():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    x, y = torch.randn(40, 4), torch.arange(40) % 3
    model[0].weight.requires_grad_(False)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[3].weight.add_(1.0)

    def constant(output, target):
        return torch.tensor(0.25)

    objective = lw.Objective(model, (x, y), loss=F.cross_entropy, metrics={"constant": constant}, test=(x[:8], y[:8]))
    line = lw.sample(objective, lw.Line(model, other), resolution=5)
    assert line.sampling == Sampling(
        settled=True,
        batchnorm="recalibrate",
        split="train",
        kind="line",
        models=line.sampling.models,
        moves=str(objective.space),
        frozen=24,
        without_effect=("constant",),
    )
    assert len(line.sampling.models) == 2
    around = lw.sample(objective.test, lw.Plane.random(model, (0, 1)), resolution=33, tolerance=1e-9, budget=30)
    assert not around.sampling.settled
    assert (around.sampling.split, around.sampling.batchnorm) == ("test", "frozen")
    assert len(around.sampling.directions) == 2
    assert line.barrier().batchnorm == "recalibrate"
    assert line.barrier().split == "train"
    with pytest.raises(ValueError, match="must be a curve"):
        around.barrier()
    function = lw.sample(lw.Objective.from_function(bowl, dim=1), lw.Subspace.identity(1), resolution=5)
    assert (function.sampling.kind, function.sampling.moves, function.sampling.frozen) == ("identity", "", 0)


def test_nothing_is_decided_on_provenance():
    model, other = MLP.model(0), MLP.model(1)
    objective = lw.Objective(model, (X, Y), loss=F.cross_entropy)
    line = lw.sample(objective, lw.Line(model, other), resolution=9)
    bare = replace(line, provenance={})
    odd = replace(line, provenance={"sampling": "odd", "subspace": 5, "batchnorm": ["odd"], "objective": None})
    plane = lw.Line(model, other).bound(objective.space)
    reports = [
        (
            landscape.barrier(),
            landscape.accuracy("loss"),
            stills.note(landscape, "loss", barrier=landscape.barrier()),
            stills.svg(landscape),
            checks.reproduces(objective, plane, landscape),
        )
        for landscape in (line, bare, odd)
    ]
    assert reports[0] == reports[1] == reports[2]
