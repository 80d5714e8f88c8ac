"""Threads of nodes: what was faster is used, and nobody else's number changes."""

import threading

import pytest
import torch

from lwidgets.sampling.threads import thread_counts
from lwidgets.study import Study, threads
from lwidgets.study.threads import ThreadChoice


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    if len(thread_counts()) == 1:
        pytest.skip("torch was built in a way that cannot choose for one thread")
    yield
    torch.set_num_threads(before)


class Clock:
    """Time that passes as a test says."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


class Function:
    pass


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize(
    ("seconds", "counts"),
    [
        ({4: 9.0, 1: 0.4}, [1, 4, 1, 1, 1]),
        ({4: 0.1, 1: 0.3}, [1, 4, 1, 4, 4]),
        ({4: 0.01, 1: 0.09}, [1, 1, 1, 1, 1]),  # nobody would feel the difference
    ],
)
def test_first_runs_are_tried_and_the_faster_is_used(monkeypatch, seconds, counts):
    clock = Clock()
    monkeypatch.setattr(threads, "time", clock)
    choice, function, used = ThreadChoice(), Function(), []
    for _ in counts:
        with choice.chosen(function):
            used.append(torch.get_num_threads())
            clock.now += seconds[used[-1]]
    assert used == counts
    with choice.chosen(function, learn=False):
        assert torch.get_num_threads() == counts[-1]
    with choice.chosen(Function(), learn=False):
        assert torch.get_num_threads() == 1


@pytest.mark.usefixtures("four_threads")
def test_a_number_that_turns_slow_is_given_up(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(threads, "time", clock)
    choice, function, used = ThreadChoice(), Function(), []
    for seconds in ({1: 0.4, 4: 0.2}, {1: 0.4, 4: 0.6}):
        for _ in range(5):
            with choice.chosen(function):
                used.append(torch.get_num_threads())
                clock.now += seconds[used[-1]]
    assert used == [1, 4, 1, 4, 4, 4, 4, 1, 1, 1]


@pytest.mark.usefixtures("four_threads")
def test_a_run_that_fails_is_not_counted():
    choice, function, used = ThreadChoice(), Function(), []

    def fail():
        with choice.chosen(function):
            used.append(torch.get_num_threads())
            raise KeyError

    for _ in range(3):
        with pytest.raises(KeyError):
            fail()
    assert used == [1, 1, 1]
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_threads")
def test_a_study_tries_and_leaves_everybody_elses_number_alone(monkeypatch):
    monkeypatch.setattr(threads, "_INSTANT", -1.0)
    study, seen, elsewhere = Study("threads"), [], []
    study.slider("x", 0, low=0, high=9)

    def born_meanwhile():
        thread = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
        thread.start()
        thread.join()

    @study.node
    def plain(x):
        seen.append(("plain", torch.get_num_threads(), thread_counts()))
        born_meanwhile()

    @study.node(slow=True)
    def slow(x):
        seen.append(("slow", torch.get_num_threads(), thread_counts()))
        born_meanwhile()

    for x in range(3):
        study.set(x=x)
        assert study.wait(10)
    study.close()
    choices = [4, 2, 1]  # what samples inside still has all of them to choose from
    for name in ("plain", "slow"):
        assert [count for who, count, _ in seen if who == name] == [1, 4, 1]
    assert all(counts == choices for *_, counts in seen)
    assert set(elsewhere) == {4}
    assert torch.get_num_threads() == 4
