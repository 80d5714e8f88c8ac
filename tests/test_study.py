"""Study: edges by argument name, memory, partial values, newest wins, errors that lose nothing."""

import threading
import time

import pytest

from lwidgets.study import Check, Study, together


@pytest.fixture
def calls():
    return []


@pytest.fixture
def study(calls):
    """a, b -> total -> double; only_b depends on b alone."""
    study = Study("sums")
    study.slider("a", 1, low=0, high=100)
    study.slider("b", 10, low=0, high=100)

    @study.node
    def total(a, b):
        calls.append(("total", a, b))
        return a + b

    @study.node
    def only_b(b):
        calls.append(("only_b", b))
        return -b

    @study.node
    def double(total):
        calls.append(("double", total))
        return 2 * total

    yield study
    study.close()


def test_only_what_depends_on_a_moved_slider_is_computed(study, calls):
    study.start()
    assert study.wait(10)
    assert study["double"] == 22
    calls.clear()
    study.set(a=2)
    assert study.wait(10)
    assert calls == [("total", 2, 10), ("double", 12)]
    assert study["double"] == 24


def test_a_slider_that_returns_costs_nothing(study, calls):
    for value in (1, 2, 1):
        calls.clear()
        study.set(a=value)
        assert study.wait(10)
    assert calls == []
    assert study["double"] == 22


def test_views_are_painted_once_for_each_new_value_and_only_when_shown(study):
    painted = []

    @study.view
    def show(double, b):
        painted.append((double, b))

    study.set(a=1)
    study.wait(10)
    assert painted == []
    study.start(paint=True)
    study.wait(10)
    study.set(a=1)
    study.wait(10)
    study.set(b=20)
    study.wait(10)
    assert painted == [(22, 10), (42, 20)]


def test_a_generator_shows_every_value_and_its_last_counts(calls):
    study = Study("stream")
    study.slider("n", 3, low=1, high=10)
    painted = []

    @study.node
    def grows(n, progress):
        for i in range(n):
            progress(i, n)
            yield list(range(i + 1))

    @study.node
    def length(grows):
        return len(grows)

    @study.view
    def show(length):
        painted.append(length)

    study.start(paint=True)
    assert study.wait(10)
    assert painted[-1] == 3
    assert painted == sorted(painted)
    assert len(painted) >= 3
    study.close()


def slow_study(steps=2000):
    """`slow` depends on x only, `quick` on y only."""
    study = Study("slow")
    study.slider("x", 0, low=0, high=100)
    study.slider("y", 0, low=0, high=100)
    runs, completed = [], []

    @study.node
    def slow(x, progress):
        runs.append(x)
        yield ("coarse", x)
        for i in range(steps):
            time.sleep(0.001)
            progress(i, steps)
        completed.append(x)
        yield ("fine", x)

    @study.node
    def quick(y):
        return y * y

    return study, runs, completed


def test_the_newest_position_wins_and_stale_work_stops():
    study, _, completed = slow_study(steps=100)
    painted = []

    @study.view
    def show(slow):
        painted.append(slow)

    study.start(paint=True)
    for x in range(1, 21):
        study.set(x=x)
        time.sleep(0.005)
    assert study.wait(20)
    assert study["slow"] == ("fine", 20)
    assert painted[-1] == ("fine", 20)
    assert [p for p in painted if p[0] == "fine"] == [("fine", 20)]
    assert completed == [20]  # the others were given up between two steps
    study.close()


def test_news_that_does_not_concern_the_running_node_is_dealt_with_while_it_runs():
    study, runs, _ = slow_study(steps=400)
    painted = []

    @study.view
    def show(quick):
        painted.append((quick, study.status.phase))

    study.start(paint=True)
    time.sleep(0.05)
    for y in (3, 5):
        study.set(y=y)
        time.sleep(0.05)
    assert not study.wait(0)
    assert [value for value, _ in painted] == [0, 9, 25]
    assert study.wait(20)
    assert runs == [0]  # never restarted
    study.close()


def test_stop_keeps_what_is_there_and_a_later_move_goes_on():
    study, _, _ = slow_study(steps=5000)
    study.start()
    time.sleep(0.05)
    study.stop()
    assert study.wait(1)
    assert study.status.phase == "stopped"
    assert study["slow"] == ("coarse", 0)
    study.set(y=2)
    time.sleep(0.05)
    assert study["quick"] == 4
    study.close()


def test_an_exception_is_shown_in_its_own_words_and_the_last_picture_stays():
    study = Study("fails")
    study.slider("x", 1, low=-10, high=10)
    painted = []

    @study.node
    def root(x):
        if x < 0:
            raise ValueError("x has no root")
        return x**0.5

    @study.node
    def independent(x):
        return x + 1

    @study.view
    def show(root):
        painted.append(root)

    study.start(paint=True)
    study.wait(10)
    study.set(x=-4)
    study.wait(10)
    assert (study.status.phase, study.status.where, study.status.message) == (
        "failed",
        "root",
        "ValueError: x has no root",
    )
    assert isinstance(study.error, ValueError)
    assert painted == [1.0]
    assert study["root"] == 1.0
    assert study["independent"] == -3
    assert not study.verify(10)
    study.set(x=4)
    study.wait(10)
    assert study.status.phase == "done"
    assert painted == [1.0, 2.0]
    study.close()


def test_checks_run_on_final_values_and_verify_reports_them():
    study = Study("checked")
    study.slider("x", 2, low=0, high=10)

    @study.node
    def square(x):
        yield 0
        yield x * x

    @study.check
    def is_square(square, x):
        """The square is right."""
        return Check.that(square == x**2, f"{square}")

    @study.check
    def small(square):
        """The square is small"""
        return Check.that(square < 5, f"{square}", "warn")

    @study.check
    def broken(square):
        """Divides"""
        raise ZeroDivisionError("no")

    report = study.verify(10)
    assert report.checks["The square is right"] == Check("pass", "4")
    assert report.checks["Divides"].state == "fail"
    assert "ZeroDivisionError: no" in report.checks["Divides"].detail
    assert not report
    study.set(x=3)
    assert study.verify(10).checks["The square is small"] == Check("warn", "9")
    study.close()


def test_a_bound_that_moves_in_takes_its_slider_along_and_one_outside_is_refused():
    study = Study("bounds")
    study.slider("span", (0.0, 1.0), low=-1.0, high=2.0)
    study.slider("alpha", 0.5, low=0.0, high=1.0, limits=(-9.0, 9.0), bounds="span")
    with pytest.raises(ValueError, match=r"alpha must lie in span, \[0, 1\], got 1.5. Widen span first"):
        study.set(alpha=1.5)
    study.set(span=(-1.0, 2.0))
    study.set(alpha=1.5)
    study.set(span=(0.0, 1.0))
    assert study.values["alpha"] == 1.0
    study.close()


def test_declarations_that_make_no_graph_are_refused():
    study = Study("wrong")
    study.slider("x", 1)
    with pytest.raises(ValueError, match=r"arguments of f must name sliders or earlier nodes, got 'y'[.] Known are x"):

        @study.node
        def f(y):
            return y

    with pytest.raises(ValueError, match="'x' must be a new name"):
        study.slider("x", 2)
    with pytest.raises(KeyError, match="one of x, got 'z'"):
        study.set(z=1)
    study.close()


def test_a_closed_study_says_so_and_keeps_its_results(study):
    study.start()
    study.wait(10)
    study.close()
    with pytest.raises(RuntimeError, match="study must be open, got the closed 'sums'"):
        study.set(a=3)
    with pytest.raises(RuntimeError, match="must be open"):
        study.verify()
    assert study["double"] == 22


def test_nothing_runs_on_the_callers_thread(study):
    threads = set()

    @study.node
    def where(a):
        threads.add(threading.current_thread().name)
        return a

    study.set(a=5)
    study.wait(10)
    assert threads == {"lwidgets: sums"}


def test_together_keeps_the_newest_of_each():
    assert list(together({"a": iter([1]), "b": iter([2, 3])})) == [{"a": 1, "b": 2}, {"a": 1, "b": 3}]


def test_a_failure_of_an_old_position_does_not_block_the_new_one():
    study, _, _ = slow_study(steps=200)

    @study.node
    def touchy(y):
        if y == 0:
            raise ValueError("y is 0")
        return y

    study.start()
    time.sleep(0.05)
    study.set(y=5)
    assert study.wait(20)
    assert (study.status.phase, study["touchy"]) == ("done", 5)
    study.close()


def test_a_plain_node_that_reports_progress_is_computed_again_for_news():
    study = Study("plain")
    study.slider("x", 0, low=0, high=9)

    @study.node
    def value(x, progress):
        for i in range(100):
            time.sleep(0.001)
            progress(i, 100)
        return x

    study.start()
    time.sleep(0.03)
    study.set(x=7)
    assert study.wait(20)
    assert study["value"] == 7
    study.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_inside_a_node_is_a_failure_and_not_the_end(error):
    study = Study("interrupted")
    study.slider("x", 0, low=0, high=9)

    @study.node
    def value(x):
        if x == 0:
            raise error
        return x

    study.start()
    assert study.wait(10)
    assert study.status.phase == "failed"
    study.set(x=2)
    assert study.wait(10)
    assert study["value"] == 2
    study.close()


def test_a_broken_listener_does_not_end_the_worker(study, capsys):
    study.listen(lambda _: 1 / 0)
    study.start()
    assert study.wait(10)
    assert study["double"] == 22
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_waiting_inside_a_view_is_refused_and_does_not_hang(study):
    @study.view
    def waits(double):
        study.wait()

    study.start(paint=True)
    assert study.wait(10)
    assert study.status.message.startswith("RuntimeError: Study.wait: caller must be outside the study's functions")


def test_verify_after_a_stop_claims_nothing():
    study, _, _ = slow_study(steps=5000)
    threading.Timer(0.1, study.stop).start()
    with pytest.raises(RuntimeError, match=r"checks must run to their end, got a stop. Call verify\(\) again"):
        study.verify(20)
    study.close()


def test_checks_of_other_positions_are_not_reported():
    study = Study("stale")
    study.slider("x", 1, low=0, high=9)

    @study.node
    def value(x):
        if x == 2:
            raise ValueError("no")
        return x

    @study.check
    def fine(value):
        """Fine."""
        return Check("pass", f"{value}")

    assert list(study.verify(10).checks) == ["Fine"]
    study.set(x=2)
    assert list(study.verify(10).checks) == ["computing value"]
    study.close()


def test_a_view_that_fails_on_the_way_and_succeeds_in_the_end_has_not_failed():
    study = Study("view")
    study.slider("x", 1, low=0, high=9)

    @study.node
    def grows(x):
        yield None
        yield x

    @study.view
    def show(grows):
        assert grows > 0

    study.start(paint=True)
    assert study.wait(10)
    assert study.status.phase == "done"
    study.close()


def test_two_checks_of_one_title_are_refused(study):
    @study.check
    def one(a):
        """Same."""
        return Check("pass", "")

    with pytest.raises(ValueError, match="a check must have a title of its own, got 'Same' twice"):

        @study.check
        def two(a):
            """Same."""
            return Check("fail", "")


def test_followers_hear_of_every_slider_that_moved(study):
    heard = []
    study.follow(heard.append)
    study.set(a=4, b=5)
    assert heard == [{"a": 4, "b": 5}]
