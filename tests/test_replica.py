"""Private copies: what cannot be copied is shared by name, and nothing of the user's is written to or blocked."""

import collections
import inspect
import io
import logging
import queue
import sys
import threading
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.parameters import State
from lwidgets.replica import Replica, private_copy
from tests.models import CASES, MLP, everything_about, make_mlp, named, same

X, Y = MLP.samples()
CPU = torch.device("cpu")


class Holds(nn.Module):
    """Something that is no part of the function."""

    def __init__(self, thing) -> None:
        super().__init__()
        self.inside, self.thing = make_mlp(), thing

    def forward(self, x):
        return self.inside(x)


class Trainer:
    """As they come: the model, a writer to a file, and a counter."""

    def __init__(self, writer) -> None:
        self.writer, self.steps, self.lock = writer, 0, threading.Lock()


class Refuses:
    def __deepcopy__(self, memo):
        raise RuntimeError("I am one of a kind")


def numbers():
    yield from range(3)


def writer():
    return sys.__stderr__


SHARED = {
    "a file": writer,
    "a module": lambda: sys,
    "a generator": numbers,
    "a frame": inspect.currentframe,
    "threading.local": threading.local,
    "a thread": threading.current_thread,
    "a trainer": lambda: Trainer(writer()),
    "what refuses": Refuses,
    "a dictionary view": lambda: {"a": 1}.keys(),
}
COPIED = {
    "a lock": threading.Lock,
    "a reentrant lock": threading.RLock,
    "a condition": threading.Condition,
    "an event": threading.Event,
    "a queue": queue.Queue,
    "text in memory": io.StringIO,
    "torch's generator": torch.Generator,
    "a logger": lambda: logging.getLogger("a"),
    "a weak reference": lambda: weakref.ref(sys),
    "a counter": lambda: collections.Counter("abc"),
}


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"a": [1, t]}, Holds], ids=["alone", "in containers", "deep"])
def test_what_cannot_be_copied_is_shared_and_named(kind, wrap):
    thing = SHARED[kind]()
    model = Holds(wrap(thing))
    objective = lw.Objective(model, (X, Y), loss=F.cross_entropy)
    name = "thing.thing" if isinstance(model.thing, Holds) else "thing"
    assert objective.provenance()["shared with the model"] == [name]
    assert objective.measure(model)["loss"] == F.cross_entropy(model(X), Y).item()
    copied, _ = private_copy(model)
    holder = copied.thing if isinstance(copied.thing, Holds) else copied
    found = holder.thing["a"][1] if isinstance(holder.thing, dict) else holder.thing
    assert found is thing
    assert all(a is not b for a, b in zip(copied.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("kind", COPIED)
def test_what_can_be_copied_or_made_anew_is_no_concern(kind):
    model = Holds([COPIED[kind]()])
    objective = lw.Objective(model, (X, Y), loss=F.cross_entropy)
    assert "shared with the model" not in objective.provenance()
    assert objective.measure(model)["loss"] == F.cross_entropy(model(X), Y).item()


def test_several_are_all_named_and_a_lock_within_a_thing_does_not_hide_the_file_in_it():
    model = Holds([writer(), threading.Lock(), Trainer(writer())])
    model.inside[0].other = sys
    copied, shared = private_copy(model)
    assert sorted(shared) == ["inside.0.other", "thing"]
    assert copied.thing[0] is model.thing[0]
    assert copied.thing[1] is not model.thing[1]
    assert copied.thing[2] is model.thing[2]


def test_a_lock_that_the_user_holds_blocks_nothing():
    class Locked(Holds):
        def forward(self, x):
            with self.thing:
                return self.inside(x)

    model = Locked(threading.Lock())
    with model.thing:
        loss = lw.Objective(model, (X, Y), loss=F.cross_entropy).measure(model)["loss"]
    assert loss == F.cross_entropy(model(X), Y).item()


def test_a_queue_and_a_generator_of_random_numbers_are_not_drawn_from():
    class Draws(Holds):
        def forward(self, x):
            self.thing[0].put(1)
            torch.rand(3, generator=self.thing[1])
            return self.inside(x)

    model = Draws([queue.Queue(), torch.Generator()])
    before = model.thing[1].get_state()
    lw.Objective(model, (X, Y), loss=F.cross_entropy).measure(model)
    assert model.thing[0].empty()
    assert torch.equal(before, model.thing[1].get_state())


def test_a_module_that_refuses_to_be_copied_is_named_and_taking_it_out_works():
    class Unique(nn.Linear):
        def __deepcopy__(self, memo):
            raise RuntimeError("I am one of a kind")

    model = nn.Sequential(nn.Linear(6, 6), Unique(6, 3))
    with pytest.raises(TypeError, match=r"^Objective: .* its part '1' of class Unique, which says RuntimeError: I am"):
        lw.Objective(model, (X, Y), loss=F.cross_entropy)
    plain = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3))
    plain.load_state_dict(model.state_dict())
    assert lw.Objective(plain, (X, Y), loss=F.cross_entropy).measure(plain)["loss"] == F.cross_entropy(model(X), Y)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_copy_shares_no_tensor_and_leaves_the_model_as_it_is(case):
    model = case.model().train()
    next(model.parameters()).requires_grad_(False)
    before = everything_about(model)
    replica = Replica(model, CPU)
    assert same({n: p.data for n, p in replica.parameters.items()}, named(model))
    for tensor in (*replica.parameters.values(), *replica.buffers.values()):
        tensor.data.zero_()
    replica.show(State.of(case.model(1)))
    replica.release()
    assert same(before, everything_about(model))


class Looks(nn.Module):
    """Plain attributes that look at parts of a parameter."""

    def __init__(self, how) -> None:
        super().__init__()
        self.qk, self.last = nn.Linear(6, 12), nn.Linear(6, 3)
        self.q, self.k = how(self.qk.weight)

    def forward(self, x):
        return self.last(torch.tanh(x @ self.q.T) * (x @ self.k.T))


LOOKS = {
    "slices": lambda w: (w[:6], w[6:]),
    "chunks of data": lambda w: w.data.chunk(2),
    "every other": lambda w: (w.detach()[::2], w.detach()[1::2]),
    "transposed": lambda w: (w[:6].T, w.T[:, 6:].T),
    "reshaped": lambda w: w.detach().view(2, 6, 6).unbind(0),
}


@pytest.mark.parametrize("how", LOOKS)
def test_attributes_that_look_at_a_parameter_follow_it(how):
    model = Looks(LOOKS[how])
    objective = lw.Objective(model, (X, Y), loss=F.cross_entropy)
    plane = lw.Plane.random(model, span=0.5).bound(objective.space)
    landscape = lw.sample(objective, plane, resolution=5, tolerance=0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for i, x in enumerate(landscape.coords[0]):
        for j, y in enumerate(landscape.coords[1]):
            point = plane.point((x, y)).parameters
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(point[name])
                assert landscape.values["loss"][i, j] == pytest.approx(F.cross_entropy(model(X), Y).item(), rel=1e-5)
                for name, parameter in model.named_parameters():
                    parameter.copy_(before[name])
