"""Slow nodes: on release, on a thread of their own, in nobody's way; and what is computed ahead gives way."""

import threading
import time

import pytest

from lwidgets.pauses import pause
from lwidgets.study import Check, Study
from lwidgets.study import worker as worker_module


@pytest.fixture
def study(steps):
    """`training` is slow and takes two steps, each when told to; `quick` is not."""
    study = Study("slow nodes")
    study.slider("x", 0, low=0, high=9)
    study.slider("y", 0, low=0, high=9)
    study.begun, study.ended, study.threads = [], [], set()

    @study.node(slow=True)
    def training(x, progress):
        study.begun.append(x)
        study.threads.add(threading.current_thread().name)
        for i in range(2):
            steps()
            progress(i, 2)
        study.ended.append(x)
        return 10 * x

    @study.node
    def trained(training):
        return training + 1

    @study.node
    def quick(x, y):
        return x + y

    yield study
    steps.run()
    study.close()
    assert study._work.latest.join(10)


def test_pictures_do_not_wait_for_it_and_waiting_does(study, steps, pictures, note):
    @study.view
    def both(quick):
        return note(quick)

    @study.view
    def result(trained):
        return note(trained)

    study.set(x=2)
    steps.arrive()
    assert study.pictures["both"].values == (2,)
    assert study.pictures["result"] is None
    study.set(y=3)
    deadline = time.monotonic() + 10
    while study.pictures["both"].values != (5,):
        assert time.monotonic() < deadline
    assert not study.wait(0.01)
    assert study.begun == [2]  # what does not concern it leaves it alone
    steps.run()
    assert study.wait(10)
    assert study.pictures["result"].values == (21,)
    assert study.threads == {"lwidgets: slow nodes (beside)"}
    assert study.status.phase == "done"


def test_a_stale_run_ends_at_its_next_step_and_only_one_runs_at_a_time(study, steps):
    study.set(x=1)
    steps.arrive()
    study.set(x=2)
    study.set(x=3)
    while study._work.latest._wanted:
        time.sleep(0.001)
    assert study.begun == [1]
    steps.run()
    assert study.wait(10)
    assert (study.begun, study.ended) == ([1, 3], [3])
    assert study["trained"] == 31


def test_what_a_stale_run_returns_all_the_same_is_dropped(steps):
    study, begun = Study("stubborn"), []
    study.slider("x", 0, low=0, high=9)

    @study.node(slow=True)
    def stubborn(x):
        begun.append(x)
        if x == 0:
            steps()
        if x == 5:
            raise ValueError("never told")
        return x

    seen = []
    study.listen(lambda study: seen.append(study.get("stubborn")))
    study.start()
    steps.arrive()
    study.set(x=5)
    study.set(x=7)
    steps.run()
    assert study.wait(10)
    assert study["stubborn"] == 7
    assert begun == [0, 7]
    assert 0 not in seen
    assert study.error is None
    study.close()


def test_a_slider_that_returns_meanwhile_costs_nothing(study, steps):
    steps.run()
    study.set(x=1)
    assert study.wait(10)
    study.set(x=2)
    study.set(x=1)
    assert study.wait(10)
    assert study["trained"] == 11
    assert study.begun.count(1) == 1


def test_it_runs_on_release_where_somebody_watches_and_at_once_for_who_waits(study, steps, watched, monkeypatch):
    monkeypatch.setattr(worker_module, "_RELEASE", 3600.0)
    steps.run()
    watched(study)
    assert study.wait(10)
    assert study.begun == [0]
    study.set(x=1)
    deadline = time.monotonic() + 10
    while study["quick"] != 1:
        assert time.monotonic() < deadline
    time.sleep(0.05)
    assert study.begun == [0]  # the finger is still on the slider
    monkeypatch.setattr(worker_module, "_RELEASE", 0.01)
    study.set(x=2)
    while study.get("trained") != 21:
        assert time.monotonic() < deadline
    assert study.begun == [0, 2]
    monkeypatch.setattr(worker_module, "_RELEASE", 3600.0)
    study.set(x=3)
    assert study.wait(10)
    assert study["trained"] == 31


def test_a_slow_generator_shows_what_it_has(steps):
    study, seen = Study("slow stream"), []
    study.slider("x", 1, low=0, high=9)

    @study.node(slow=True)
    def path(x):
        for i in range(3):
            steps()
            yield i * x

    @study.view
    def draw(path):
        seen.append(path)

    study.start()
    for count in range(3):
        steps.arrive()
        deadline = time.monotonic() + 10
        while len(seen) < count:
            assert time.monotonic() < deadline
        steps._permits.release()
    assert study.wait(10)
    assert seen == [0, 1, 2]
    assert study._work.world["path"].final
    study.close()


def test_a_failure_is_told_as_any_other(steps):
    study = Study("slow failure")
    study.slider("x", 1, low=0, high=9)

    @study.node(slow=True)
    def fails(x):
        if x == 1:
            raise KeyboardInterrupt
        return x

    assert study.verify(10).checks == {"computing fails": Check("fail", "KeyboardInterrupt: ")}
    study.set(x=2)
    assert study.verify(10)
    study.close()


@pytest.mark.parametrize("end", ["stop", "close"])
def test_stop_and_close_end_it(study, steps, end):
    study.set(x=1)
    steps.arrive()
    getattr(study, end)()
    assert study.wait(5)
    steps.run()
    if end == "stop":
        assert study.status.phase == "stopped"
        study.start()
        assert study.wait(10)
        assert study["trained"] == 11
        assert study.ended == [1]
    else:
        assert study._work.latest.join(10)
        assert study.ended == []
        assert not [thread for thread in threading.enumerate() if "slow nodes" in thread.name]


def test_pauses_end_a_stale_run_and_waiting_inside_is_refused():
    study, begun, told = Study("paused"), threading.Event(), []
    study.slider("x", 0, low=0, high=9)

    @study.node(slow=True)
    def slow(x):
        try:
            study.wait()
        except RuntimeError as error:
            told.append(str(error))
        begun.set()
        while x == 0:
            pause()
            time.sleep(0.001)
        return x

    study.start()
    assert begun.wait(10)
    study.set(x=4)
    assert study.wait(10)
    assert study["slow"] == 4
    assert told[0].startswith("Study.wait: caller must be outside the study's functions")
    study.close()


# --- computed ahead ---


def test_slow_nodes_are_not_computed_ahead_nor_what_waits_for_them(study, steps, watched):
    steps.run()
    rested = threading.Event()
    leisure = study._work.latest._leisure
    study._work.latest._leisure = lambda: (leisure(), rested.set())
    watched(study)
    assert study.wait(10)
    study.set(x=4)
    assert study.wait(10)
    rested.clear()
    study.start()
    assert rested.wait(10)
    assert study.begun == [0, 4]
    quick = study._graph.functions["quick"]
    assert 5 in study._work._memo[quick].values()


@pytest.mark.parametrize("form", ["plain", "reports", "pauses"])
def test_what_takes_long_is_computed_ahead_only_if_it_can_give_way(form, watched, monkeypatch):
    monkeypatch.setattr(worker_module, "_HEAVY", 0.0)
    study, calls = Study("heavy"), []
    study.slider("x", 0, low=0, high=9)

    if form == "reports":

        @study.node
        def value(x, progress):
            calls.append(x)

    else:

        @study.node
        def value(x):
            calls.append(x)
            if form == "pauses":
                pause()

    rested = threading.Event()
    leisure = study._work.latest._leisure
    study._work.latest._leisure = lambda: (leisure(), rested.set())
    watched(study)
    assert rested.wait(10)
    rested.clear()
    study.set(x=2)
    assert rested.wait(10)
    assert calls == ([0, 2] if form == "plain" else [0, 2, 3, 1, 4])
    study.close()
