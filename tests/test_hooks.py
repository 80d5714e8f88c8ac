"""Hooks and replaced functions: the values stay right, and nothing of the user's is written to.

The other way to every number is the user's own module, moved in place and back.
"""

import functools
import types
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

import lwidgets as lw
from lwidgets.hooks import OwnGlobals, owned
from lwidgets.sampling.evaluate import Local
from tests.models import MLP, make_mlp

X, Y = MLP.samples()
PLACES = [(0.0, 0.0), (0.5, -0.5), (-0.5, 0.25), (0.5, 0.5)]


def by_hand(model, subspace, coordinates):
    """The loss of the user's own module with the weights of a point, and without its hooks' side effects undone."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    point = subspace.point(coordinates).parameters
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(point[name])
        loss = F.cross_entropy(model(X), Y).item()
        for name, parameter in model.named_parameters():
            parameter.copy_(before[name])
    return loss


def sampled(model, tell=lambda: None):
    """An objective whose values have been compared with the user's module, and what the user saw meanwhile."""
    model.eval()
    before = tell()
    objective = lw.Objective(model, (X, Y), loss=F.cross_entropy)
    plane = lw.Plane.random(model, span=0.5).bound(objective.space)
    rows = plane.coefficients(PLACES)
    found = [row[0] for row in Local(objective, plane.basis, "none", strategy="loop")(rows)]
    lw.sample(objective, plane, resolution=3, tolerance=0, cache=False)
    objective.model_at(plane.point((0.5, 0.5)))(X)
    lw.symmetry.derive(model, X[:3], certify=False)
    after = tell()
    wanted = [by_hand(model, plane, place) for place in PLACES]
    assert found == pytest.approx(wanted, rel=1e-6)
    assert len(set(wanted)) == len(wanted)
    assert before == after
    return objective


seen, table, count = [], {}, 0


def record(module, inputs, output):
    seen.append(output)


def record_number(module, inputs, output):
    seen.append(output.mean().item())


def counted(module, inputs):
    global count
    count += 1


def enter(module, inputs, output, name):
    table[name] = output.detach()


def helped(module, inputs, output):
    record(module, inputs, output)


class Recorder:
    def __init__(self):
        self.outputs = []

    def hook(self, module, inputs, output):
        self.outputs.append(output)

    __call__ = hook


recorder = Recorder()


def in_closure(outputs):
    return lambda module, inputs, output: outputs.append(output)


def told():
    return len(seen), len(table), count, len(recorder.outputs)


WATCHERS = {
    "a list": lambda m: m[0].register_forward_hook(record),
    "a number": lambda m: m[0].register_forward_hook(record_number),
    "a lambda": lambda m: m[1].register_forward_hook(lambda _, i, o: seen.append(o)),
    "a count": lambda m: m[0].register_forward_pre_hook(counted),
    "a partial": lambda m: m[2].register_forward_hook(functools.partial(enter, name="2")),
    "a helper": lambda m: m[2].register_forward_hook(helped),
    "a method": lambda m: m[2].register_forward_hook(recorder.hook),
    "an object": lambda m: m[2].register_forward_hook(recorder),
    "an object within": lambda m: m[2].register_forward_hook(lambda _, i, o: recorder.hook(_, i, o)),
    "a closure": lambda m: m[2].register_forward_hook(in_closure(seen)),
    "keywords": lambda m: m[2].register_forward_hook(lambda _, a, k, o: seen.append(o), with_kwargs=True),
    "always": lambda m: m.register_forward_hook(record, always_call=True),
    "backward": lambda m: m[2].register_full_backward_hook(lambda _, i, o: seen.append(o)),
}


@pytest.mark.parametrize("kind", WATCHERS)
def test_a_hook_that_only_watches_sees_nothing_of_ours_and_is_left_out(kind):
    model = make_mlp()
    WATCHERS[kind](model)
    provenance = sampled(model, told).provenance()
    assert len(provenance["hooks left out"]) == 1
    assert "hooks that take part" not in provenance


def double(module, inputs, output):
    return 2 * output


def in_place(module, inputs, output):
    output.mul_(2)


def guard(module, inputs, output):
    if output.abs().max() > 2.5:
        return output.clamp(-1, 1)


def standardise(module, inputs):
    module.weight = module.free - module.free.mean(dim=1, keepdim=True)


def standardised(model):
    free = model[0].weight.detach()
    del model[0].weight
    model[0].free, model[0].weight = nn.Parameter(free), free
    return model[0].register_forward_pre_hook(standardise)


def record_and_clip(module, inputs, output):
    seen.append(output)
    return output.clamp(max=0.5)


kept = {}


def skips(model):
    model[1].register_forward_hook(lambda _, i, o: kept.update(x=o))
    model[3].register_forward_hook(lambda _, i, o: o + kept["x"][:, :12])


def replaced_input(module, args, kwargs):
    return (args[0] * 2,), kwargs


ACTING = {
    "double": lambda m: m[1].register_forward_hook(double),
    "in place": lambda m: m[2].register_forward_hook(in_place),
    "elsewhere only": lambda m: m[2].register_forward_hook(guard),
    "weights": standardised,
    "input": lambda m: m[2].register_forward_pre_hook(replaced_input, with_kwargs=True),
    "weight norm": lambda m: nn.utils.weight_norm(m[0]),
    "spectral norm": lambda m: nn.utils.spectral_norm(m[2].train()) and m(X),
    "pruning": lambda m: prune.random_unstructured(m[0], "weight", 0.5),
    "records, too": lambda m: m[1].register_forward_hook(record_and_clip),
    "in two hooks": skips,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("kind", ACTING)
def test_a_hook_that_takes_part_stays_and_writes_to_nothing_of_the_users(kind):
    model = make_mlp()
    ACTING[kind](model)
    provenance = sampled(model, told).provenance()
    assert provenance["hooks that take part"]
    assert "hooks left out" not in provenance


def test_each_hook_is_judged_by_itself():
    model = make_mlp()
    model[0].register_forward_hook(record)
    model[1].register_forward_hook(double)
    model[1].register_forward_hook(record)
    provenance = sampled(model, told).provenance()
    assert provenance["hooks left out"] == ["record on Linear", "record on ReLU"]
    assert provenance["hooks that take part"] == ["double on ReLU"]


factor = 2.0


def scale(module, inputs, output):
    return factor * output


def test_a_global_number_that_a_kept_hook_reads_is_as_it_is_when_it_is_read():
    global factor
    model = make_mlp()
    model[1].register_forward_hook(scale)
    objective = lw.Objective(model, (X, Y), loss=F.cross_entropy)
    for value in (2.0, 3.0):
        factor = value
        assert objective.measure(model)["loss"] == F.cross_entropy(model(X), Y).item()


settings = {"factor": 2.0}


def test_a_container_that_a_kept_hook_only_reads_is_live_too():
    model = make_mlp()
    model[1].register_forward_hook(lambda _, i, o: settings["factor"] * o)
    objective = lw.Objective(model, (X, Y), loss=F.cross_entropy)
    for value in (2.0, 3.0):
        settings["factor"] = value
        assert objective.measure(model)["loss"] == F.cross_entropy(model(X), Y).item()


old = layers = whole = None


def globally(model):
    global old
    old = model.forward
    model.forward = lambda x: 2 * old(x)


def by_layers(model):
    global layers
    layers = [model[0], model[2], model[4]]
    model.forward = lambda x: layers[2](torch.tanh(layers[1](torch.tanh(layers[0](x)))))


def by_the_whole(model):
    global whole
    whole = model
    model.forward = lambda x: whole[4](whole[2](whole[0](x)))


def by_closure(model):
    before = model.forward
    model.forward = lambda x: 3 * before(x)


def in_order(model, x):
    return model[4](model[2](model[0](x)))


def nested(model):
    by_closure(model)
    by_closure(model)


REPLACED = {
    "a global name": globally,
    "a list of layers": by_layers,
    "the model itself": by_the_whole,
    "a closure": by_closure,
    "twice": nested,
    "a method": lambda m: setattr(m, "forward", types.MethodType(lambda self, x: self[4](self[2](self[0](x))), m)),
    "a partial": lambda m: setattr(
        m, "forward", functools.partial(lambda model, x: model[4](model[2](model[0](x))), m)
    ),
    "compiled": lambda m: setattr(m, "forward", torch.compile(m.forward, backend="eager")),
    "compiled in place": lambda m: m.compile(backend="eager"),
    "of a part": lambda m: by_closure(m[2]),
}


@pytest.mark.parametrize("kind", REPLACED)
def test_a_replaced_forward_computes_with_the_weights_of_the_point(kind):
    model = make_mlp()
    REPLACED[kind](model)
    sampled(model)


def test_a_weak_reference_to_a_part_of_the_model_is_one_to_the_copys():
    class Child(nn.Module):
        def __init__(self, parent) -> None:
            super().__init__()
            self.parent, self.elsewhere = weakref.ref(parent), weakref.ref(recorder)

        def forward(self, x):
            assert self.elsewhere() is recorder
            return x * self.parent().scale

    class Parent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.last = nn.Parameter(torch.randn(6)), nn.Linear(6, 3)
            self.child = Child(self)

        def forward(self, x):
            return self.last(self.child(x))

    model = Parent()
    objective = lw.Objective(model, (X, Y), loss=F.cross_entropy)
    plane = lw.Plane.random(model, zero_1d=False, span=0.5).bound(objective.space)
    for place, row in zip(PLACES, objective.evaluate(plane.basis, plane.coefficients(PLACES)), strict=True):
        assert row["loss"] == pytest.approx(by_hand(model, plane, place), rel=1e-6)


def test_functions_that_reach_nothing_of_the_model_stay_what_they_are():
    memo = {id(recorder): Recorder()}
    for thing in (
        F.relu,
        torch.relu,
        counted,
        functools.partial(enter, name="a"),
        lambda x: x,
        3,
        weakref.ref(counted),
    ):
        assert owned(thing, memo) is thing


def test_own_globals_are_read_before_the_live_ones_and_written_to_alone():
    live = {"a": 1, "b": 2}
    names = OwnGlobals(live, {"a": 10})
    function = types.FunctionType(compile("global c\nc = a + b", "<test>", "exec"), names)
    function()
    assert (names["c"], "c" in live) == (12, False)
    live["b"] = 3
    function()
    assert (names["c"], names.get("b"), names.get("d", 4), "b" in names, "d" in names) == (13, 3, 4, True, False)
