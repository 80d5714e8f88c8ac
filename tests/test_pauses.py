"""An evaluation of many batches: told to end between two of them, wherever it is computed, and only by who listens."""

import threading
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.pauses import heard_by, pause
from lwidgets.sampling.evaluate import STRATEGIES, Local
from lwidgets.study import Check, Study, worker

BATCHES = [(torch.randn(6, 4, generator=torch.Generator().manual_seed(i)), torch.arange(6) % 3) for i in range(5)]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))


class Enough(BaseException):
    pass


class After:
    """Raises at the so manieth pause."""

    def __init__(self, count):
        self.count, self.heard = count, 0

    def __call__(self):
        self.heard += 1
        if self.heard == self.count:
            raise Enough


@pytest.mark.parametrize("batchnorm", ["frozen", "batch", "recalibrate"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("count", [1, 3, 5])
def test_every_strategy_pauses_between_batches_and_is_right_afterwards(strategy, batchnorm, count):
    model = network()
    objective = lw.Objective(model, BATCHES, loss=F.cross_entropy)
    plane = lw.Plane.random(model).bound(objective.space)
    rows = plane.coefficients(np.random.default_rng(0).uniform(-1, 1, (3, 2)))

    def measured():
        return np.array(list(Local(objective, plane.basis, batchnorm, strategy=strategy)(rows)))

    expected = measured()
    listener = After(count)
    with pytest.raises(Enough), heard_by(listener):
        measured()
    assert listener.heard == count
    np.testing.assert_array_equal(measured(), expected)
    assert not model.training or all(p.training for p in model.modules())


def test_listeners_are_of_one_thread_and_nest():
    heard = []
    with heard_by(lambda: heard.append("outer")):
        with heard_by(lambda: heard.append("inner")):
            pause()
        thread = threading.Thread(target=pause)
        thread.start()
        thread.join()
        pause()
    pause()
    assert heard == ["inner", "outer"]


class Slow:
    """An objective of many slow batches; a test can wait until one is being evaluated."""

    def __init__(self, seconds=0.1, batches=100):
        self.begun, self.calls = threading.Event(), 0
        self.model = nn.Linear(2, 1)
        self.seconds = 0.0
        data = [(torch.ones(1, 2), torch.ones(1, 1))] * batches
        self.objective = lw.Objective(self.model, data, loss=self.loss)
        self.calls, self.seconds = 0, seconds
        self.begun.clear()

    def loss(self, output, target):
        self.calls += 1
        self.begun.set()
        time.sleep(self.seconds)
        return ((output - target) ** 2).mean()


def ended(worker_name, seconds=3.0):
    last = time.monotonic() + seconds
    while any(thread.name == worker_name for thread in threading.enumerate()):
        if time.monotonic() > last:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("end", ["close", "stop", "move"])
def test_an_explorer_does_not_wait_for_an_evaluation(end):
    slow = Slow()
    explorer = lw.SurfaceExplorer(slow.objective, resolution=3, title=f"Slow {end}")
    assert slow.begun.wait(20)
    if end == "move":
        slow.seconds = 0.0
        explorer.seed_x = 7
        assert explorer.wait(60)
        assert "7" in explorer.landscape.provenance["subspace"]["directions"][0]
        explorer.close()
        return
    calls = slow.calls
    if end == "close":
        explorer.close()
        assert slow.calls <= calls + 1  # it did not wait
        assert ended("lwidgets: Slow close")
    else:
        explorer.study.stop()
        assert explorer.wait(5)
        assert explorer.study.status.phase == "stopped"
        explorer.close()
    assert slow.calls <= calls + 4  # of 100


def test_a_check_gives_way_to_a_slider():
    study, begun = Study("checked"), threading.Event()
    study.slider("x", 0, low=0, high=9)
    ran = []

    @study.check
    def slow(x: int) -> Check:
        """Takes long at 0."""
        begun.set()
        for _ in range(1000 if x == 0 else 1):
            pause()
            time.sleep(0.01)
        ran.append(x)
        return Check.that(True, str(x))

    study.start()
    assert begun.wait(10)
    study.set(x=3)
    assert study.wait(5)
    assert ran == [3]
    assert study.checks["Takes long at 0"].detail == "3"
    study.close()


def test_a_plain_node_ends_before_a_slider_is_answered():
    study, begun = Study("plain"), threading.Event()
    study.slider("x", 0, low=0, high=9)
    ran = []

    @study.node
    def node(x: int) -> int:
        begun.set()
        for _ in range(20):
            pause()
            time.sleep(0.01)
        ran.append(x)
        return x

    study.start()
    assert begun.wait(10)
    study.set(x=3)
    assert study.wait(10)
    assert ran == [0, 3]
    study.close()


def test_a_step_that_takes_long_says_how_long(monkeypatch):
    monkeypatch.setattr(worker, "_SLOW", 0.02)
    slow = Slow(seconds=0.05, batches=40)  # 2 s
    told = []
    explorer = lw.SurfaceExplorer(slow.objective, resolution=3)
    explorer.study.listen(lambda study: told.append((study.status, explorer.status_bar.status["text"])))
    deadline = time.monotonic() + 20
    while not any("s a step" in text for _, text in list(told)) and time.monotonic() < deadline:
        time.sleep(0.05)
    explorer.close()
    status, text = next(one for one in told if "s a step" in one[1])
    assert status.seconds >= 1
    assert status.done <= 1
    assert "s a step" in text
