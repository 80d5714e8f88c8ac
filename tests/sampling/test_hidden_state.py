"""What a loss, a metric or a model reads may change between two pictures, and in the middle of one."""

import itertools
import os
import subprocess
import sys
import types
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.sampling import evaluate
from lwidgets.sampling.evaluate import Local
from lwidgets.sampling.identity import meaning

ROOT = Path(__file__).parents[2]
X, Y = torch.randn(24, 5, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3

beta = 1.0
settings = {"beta": 1.0, "deep": [{"beta": 1.0}]}
array = np.array([1.0])
tensor = torch.tensor(1.0)


class Config:
    beta = 1.0


@dataclass
class Settings:
    beta: float = 1.0


class Slotted:
    __slots__ = ("beta",)


space, record, slotted = types.SimpleNamespace(beta=1.0), Settings(), Slotted()
slotted.beta = 1.0


def helper(output):
    return beta_of_helper * output.square().mean()


beta_of_helper = 1.0


def regularised(read):
    """A loss that reads a number whenever it is called."""
    return lambda output, target: F.cross_entropy(output, target) + read() * output.square().mean()


class LossModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.beta = 1.0
        self.register_buffer("weight", torch.tensor(1.0))

    def forward(self, output, target):
        return F.cross_entropy(output, target) + self.beta * self.weight * output.square().mean()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.first(x))) * forward_scale


forward_scale = 1.0


def setter(name):
    return lambda value: globals().__setitem__(name, value)


def cell():
    kept = 1.0

    def change(value):
        nonlocal kept
        kept = value

    return regularised(lambda: kept), change


def listed():
    kept = [1.0]
    return regularised(lambda: kept[0]), lambda value: kept.__setitem__(0, value)


def module_attribute():
    loss = LossModule()
    return loss, lambda value: setattr(loss, "beta", value)


def module_buffer():
    loss = LossModule()
    return loss, lambda value: loss.weight.fill_(value)


def module_buffer_replaced():
    loss = LossModule()
    return loss, lambda value: setattr(loss, "weight", torch.tensor(value))


def smoothing():
    loss = nn.CrossEntropyLoss()
    return loss, lambda value: setattr(loss, "label_smoothing", value / 10)


def default_argument():
    def loss(output, target, scale=1.0):
        return F.cross_entropy(output, target) + scale * output.square().mean()

    return loss, lambda value: setattr(loss, "__defaults__", (value,))


def partial_argument():
    def loss(output, target, scale):
        return F.cross_entropy(output, target) + scale * output.square().mean()

    bound = partial(loss, scale=1.0)
    return bound, lambda value: bound.keywords.__setitem__("scale", value)


def redefined():
    def change(value):
        exec(f"def helper(output):\n    return {value!r} * output.square().mean()", globals())

    return lambda output, target: F.cross_entropy(output, target) + helper(output), change


def environment():
    def change(value):
        os.environ["LWIDGETS_TEST_BETA"] = repr(value)

    change(1.0)
    return regularised(lambda: float(os.environ["LWIDGETS_TEST_BETA"])), change


def setting_of_an_installed_module():
    def change(value):
        F.lwidgets_test_beta = value

    change(1.0)
    return regularised(lambda: F.lwidgets_test_beta), change


def method():
    class Loss:
        def scale(self):
            return 1.0

        def __call__(self, output, target):
            return F.cross_entropy(output, target) + self.scale() * output.square().mean()

    loss = Loss()
    return loss, lambda value: setattr(Loss, "scale", lambda self: value)


HELD = {
    "a global": lambda: (regularised(lambda: beta), setter("beta")),
    "a class attribute": lambda: (regularised(lambda: Config.beta), lambda v: setattr(Config, "beta", v)),
    "a dict": lambda: (regularised(lambda: settings["beta"]), lambda v: settings.__setitem__("beta", v)),
    "deep inside": lambda: (
        regularised(lambda: settings["deep"][0]["beta"]),
        lambda v: settings["deep"][0].__setitem__("beta", v),
    ),
    "a namespace": lambda: (regularised(lambda: space.beta), lambda v: setattr(space, "beta", v)),
    "a dataclass": lambda: (regularised(lambda: record.beta), lambda v: setattr(record, "beta", v)),
    "a slot": lambda: (regularised(lambda: slotted.beta), lambda v: setattr(slotted, "beta", v)),
    "an array in place": lambda: (regularised(lambda: array[0]), lambda v: array.__setitem__(0, v)),
    "a tensor in place": lambda: (regularised(lambda: tensor), lambda v: tensor.fill_(v)),
    "a number of a tensor": lambda: (regularised(lambda: tensor.item()), lambda v: tensor.fill_(v)),
    "a tensor replaced": lambda: (regularised(lambda: tensor), lambda v: setter("tensor")(torch.tensor(v))),
    "a global of a helper": lambda: (
        lambda output, target: F.cross_entropy(output, target) + helper(output),
        setter("beta_of_helper"),
    ),
    "a global in the forward": lambda: (F.cross_entropy, setter("forward_scale")),
    "a cell": cell,
    "a list in a cell": listed,
    "an attribute of a loss module": module_attribute,
    "a buffer of a loss module": module_buffer,
    "a buffer replaced": module_buffer_replaced,
    "label smoothing": smoothing,
    "a default argument": default_argument,
    "an argument of a partial": partial_argument,
    "a helper defined again": redefined,
    "an environment variable": environment,
    "a setting of an installed module": setting_of_an_installed_module,
    "a method": method,
}


@pytest.fixture(autouse=True)
def everything_as_it_was(monkeypatch):
    """Names of this module and of the environment, and graphs tried at once, however small the network."""
    monkeypatch.setattr(evaluate, "_WORTH", 0.0)
    before = dict(globals())
    yield
    globals().update(before)
    os.environ.pop("LWIDGETS_TEST_BETA", None)
    for change in (
        lambda: setattr(Config, "beta", 1.0),
        lambda: settings.update(beta=1.0, deep=[{"beta": 1.0}]),
        lambda: (setattr(space, "beta", 1.0), setattr(record, "beta", 1.0), setattr(slotted, "beta", 1.0)),
        lambda: (array.fill(1.0), tensor.fill_(1.0), vars(F).pop("lwidgets_test_beta", None)),
    ):
        change()


def net(seed):
    torch.manual_seed(seed)
    return Net()


def truth(model, loss, plane, shape):
    """Every pixel by the loop of a new objective."""
    objective = lw.Objective(model, (X, Y), loss=loss)
    bound = plane.bound(objective.space)
    points = np.array(list(itertools.product(*(axis.grid(n) for axis, n in zip(bound.axes, shape, strict=True)))))
    rows = Local(objective, bound.basis, "none", strategy="loop")(bound.coefficients(points))
    return np.array(list(rows)).reshape(shape)


def random_walk(name, seeds, folder):
    """Change, sample, move on: four times; the largest error of any pixel."""
    worst, used = 0.0, set()
    for seed in seeds:
        rng = np.random.default_rng([seed, sum(map(ord, name))])
        loss, change = HELD[name]()
        objective = lw.Objective(net(0), (X, Y), loss=loss)
        cache = lw.Cache(folder)
        for _ in range(4):
            change(float(rng.integers(1, 4)))
            plane = lw.Plane.random(objective.module, (int(rng.integers(2)), 7))
            found = lw.sample(objective, plane, resolution=(7, 5), tolerance=0, cache=cache)
            worst = max(worst, np.abs(found.values["loss"] - truth(objective.module, loss, plane, (7, 5))).max())
            used |= {label.partition(",")[0] for label in found.provenance["sampling"]["strategies"]}
    return worst, used


@pytest.mark.parametrize("name", HELD)
def test_a_value_is_never_of_what_was_before(name, tmp_path):
    worst, used = random_walk(name, range(8), tmp_path)
    assert worst < 2e-6
    assert used & {"traced", "folded", "batched"}, "or the test says nothing about graphs"


@pytest.mark.parametrize("name", ["a global", "a dict", "a method", "an environment variable", "a buffer replaced"])
def test_a_folder_never_answers_for_another_loss(name, tmp_path):
    loss, change = HELD[name]()
    model = net(0)
    plane = lw.Plane.random(model, (0, 1))
    for value in (1.0, 5.0, 1.0):
        change(value)
        objective = lw.Objective(model, (X, Y), loss=loss)
        found = lw.sample(objective, plane, resolution=5, tolerance=0, cache=lw.Cache(tmp_path))
        np.testing.assert_allclose(found.values["loss"], truth(model, loss, plane, (5, 5)), rtol=1e-5)
    assert found.provenance["sampling"]["remembered"] == 25, "the first loss is known again"


ELSEWHERE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import lwidgets as lw
from tests.sampling import test_hidden_state as t

loss, change = t.HELD["a global"]()
change(float(sys.argv[3]))
objective = lw.Objective(t.net(0), (t.X, t.Y), loss=loss)
plane = lw.Plane.random(objective.module, (0, 1))
found = lw.sample(objective, plane, resolution=5, tolerance=0, cache=sys.argv[2])
error = np.abs(found.values["loss"] - t.truth(objective.module, loss, plane, (5, 5))).max()
print(found.provenance["sampling"]["remembered"], error)
"""


def test_another_process_finds_what_is_of_the_same_loss_and_nothing_else(tmp_path):
    loss, change = HELD["a global"]()
    objective = lw.Objective(net(0), (X, Y), loss=loss)
    for value in (1.0, 5.0):
        change(value)
        plane = lw.Plane.random(objective.module, (0, 1))
        lw.sample(objective, plane, resolution=5, tolerance=0, cache=str(tmp_path))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for value, remembered in ((5.0, 25), (3.0, 0)):
        command = [sys.executable, "-c", ELSEWHERE, str(ROOT), str(tmp_path), str(value)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        known, error = done.stdout.split()
        assert int(known) == remembered
        assert float(error) < 2e-6


def test_a_picture_in_the_middle_of_which_something_changes_is_of_one_thing(tmp_path):
    loss, change = HELD["a global"]()
    objective = lw.Objective(net(0), (X, Y), loss=loss)
    plane = lw.Plane.random(objective.module, (0, 1))

    def at_the_middle(done, total):
        if done == 40:
            change(4.0)

    found = lw.sample(objective, plane, resolution=9, tolerance=0, cache=str(tmp_path), progress=at_the_middle)
    np.testing.assert_allclose(found.values["loss"], truth(objective.module, loss, plane, (9, 9)), rtol=1e-5)
    change(1.0)
    again = lw.sample(objective, plane, resolution=9, tolerance=0, cache=str(tmp_path))
    np.testing.assert_allclose(again.values["loss"], truth(objective.module, loss, plane, (9, 9)), rtol=1e-5)


def test_an_explorer_that_returns_to_a_position_shows_what_is_true_now():
    loss, change = HELD["a global"]()
    objective = lw.Objective(net(0), (X, Y), loss=loss)
    explorer = lw.SurfaceExplorer(objective, resolution=9, tolerance=0.0)
    try:
        for seed, value in ((0, 1.0), (5, 3.0), (0, 3.0), (5, 2.0)):
            change(value)
            explorer.seed_x = seed
            explorer.study.verify(60)
            plane = lw.Plane.random(objective.module, (seed, explorer.seed_y))
            shown = explorer.landscape.values["loss"]
            np.testing.assert_allclose(shown, truth(objective.module, loss, plane, (9, 9)), rtol=1e-5)
            change(value + 0.5)  # and where no slider is moved
            shown = explorer.landscape.values["loss"]
            np.testing.assert_allclose(shown, truth(objective.module, loss, plane, (9, 9)), rtol=1e-5)
    finally:
        explorer.close()


def number_in(path):
    with open(path) as file:
        return float(file.read())


UNREAD = {
    "a generator": lambda things: regularised(lambda: next(things)),
    "a file": lambda path: regularised(lambda: number_in(path)),
    "computed names": lambda name: regularised(lambda: globals()[name]),
    "evaluated text": lambda text: regularised(lambda: eval(text)),
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_cannot_be_followed_is_named_and_neither_traced_nor_remembered(name, tmp_path):
    (tmp_path / "beta").write_text("1.0")
    given = {"a generator": itertools.repeat(1.0), "a file": tmp_path / "beta", "computed names": "beta"}
    loss = UNREAD[name]((x for x in given[name]) if name == "a generator" else given.get(name, "beta"))
    objective = lw.Objective(net(0), (X, Y), loss=loss)
    plane = lw.Plane.random(objective.module, (0, 1))
    for _ in range(2):
        facts = lw.sample(objective, plane, resolution=7, tolerance=0).provenance["sampling"]
        assert facts["remembered"] == 0
        assert "cannot be followed" in facts["not remembered"]
        assert "cannot be followed" in facts["not used"]["traced"]
        assert {label.partition(",")[0] for label in facts["strategies"]} == {"loop"}


def test_what_evaluating_changes_is_noticed_and_the_picture_is_right(tmp_path):
    history = []

    def loss(output, target):
        history.append(len(history))
        return F.cross_entropy(output, target)

    objective = lw.Objective(net(0), (X, Y), loss=loss)
    plane = lw.Plane.random(objective.module, (0, 1))
    found = lw.sample(objective, plane, resolution=9, tolerance=0, cache=str(tmp_path))
    np.testing.assert_allclose(found.values["loss"], truth(net(0), F.cross_entropy, plane, (9, 9)), rtol=1e-5)
    assert "changes while it is evaluated" in found.provenance["sampling"]["not remembered"]


def test_a_graph_that_lies_is_found_out_and_its_values_are_measured_again(monkeypatch, tmp_path):
    # A graph wherever there is one, however fast the loop is on this machine today.
    monkeypatch.setattr(evaluate.Plan, "next", lambda self, strategies, counts: (strategies[-1], counts[0]))
    objective = lw.Objective(net(0), (X, Y), loss=F.cross_entropy)
    plane = lw.Plane.random(objective.module, (0, 1))
    lw.sample(objective, plane, resolution=9, tolerance=0, cache=False)
    assert next(iter(evaluate.plans_of(objective).values())).verified
    honest = evaluate.Traced.row, evaluate.Traced.rows
    monkeypatch.setattr(evaluate.Traced, "row", lambda self, c: honest[0](self, c) + 0.1)
    monkeypatch.setattr(evaluate.Traced, "rows", lambda self, c: honest[1](self, c) + 0.1)
    other = lw.Plane.random(objective.module, (2, 3))
    found = lw.sample(objective, other, resolution=9, tolerance=0, cache=str(tmp_path))
    np.testing.assert_allclose(found.values["loss"], truth(net(0), F.cross_entropy, other, (9, 9)), rtol=1e-5)
    assert "differs from the loop" in str(found.provenance["sampling"]["not used"])


def test_reading_again_gives_the_same_until_something_changes():
    for number, name in enumerate(HELD):
        loss, change = HELD[name]()
        objective = lw.Objective(net(0), (X, Y), loss=loss)
        before = meaning(objective, "none")
        assert meaning(objective, "none") == before, name
        change(2.0 + number)
        assert meaning(objective, "none") != before, name
        assert not before.unread, name
