"""Study: edges by argument name, memory, partial values, newest wins, errors that lose nothing, idle time."""

import queue
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


def test_views_are_run_once_for_each_new_value_also_when_nobody_watches(study, watched):
    painted = []

    @study.view
    def show(double, b):
        painted.append((double, b))

    study.set(a=1)
    study.wait(10)
    assert painted == [(22, 10)]
    watched(study)
    study.wait(10)
    study.set(a=1)
    study.wait(10)
    study.set(b=20)
    study.wait(10)
    assert painted == [(22, 10), (42, 20)]


def test_a_generator_shows_every_value_and_its_last_counts(calls, watched):
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

    watched(study)
    assert study.wait(10)
    assert painted[-1] == 3
    assert painted == sorted(painted)
    assert len(painted) >= 3
    study.close()


@pytest.fixture
def slow_study(steps):
    """`slow` depends on x only and takes three steps, each when told to; `quick` on y only."""
    study = Study("slow")
    study.slider("x", 0, low=0, high=100)
    study.slider("y", 0, low=0, high=100)
    study.runs, study.completed = [], []

    @study.node
    def slow(x, progress):
        study.runs.append(x)
        yield ("coarse", x)
        for i in range(3):
            steps()
            progress(i, 3)
        study.completed.append(x)
        yield ("fine", x)

    @study.node
    def quick(y):
        return y * y

    yield study
    study.close()


def test_the_newest_position_wins_and_stale_work_stops(slow_study, steps):
    study, painted = slow_study, []

    @study.view
    def show(slow):
        painted.append(slow)

    study.start()
    steps.arrive()
    for x in range(1, 21):
        study.set(x=x)
        steps.go()  # the run at x - 1 hears of it at its next step, and that at x begins
    steps.run()
    assert study.wait(20)
    assert study["slow"] == ("fine", 20)
    assert study.runs == list(range(21))
    assert study.completed == [20]  # the others were given up between two steps
    assert [p for p in painted if p[0] == "fine"] == [("fine", 20)]


def test_news_that_does_not_concern_the_running_node_is_dealt_with_while_it_runs(slow_study, steps, watched):
    study, painted = slow_study, []

    @study.view
    def show(quick):
        painted.append(quick)

    watched(study)
    steps.arrive()
    for y in (3, 5):
        study.set(y=y)
        steps.go()
    assert not study.wait(0)
    assert painted == [0, 9, 25]
    steps.run()
    assert study.wait(20)
    assert study.runs == [0]  # never restarted


def test_stop_keeps_what_is_there_and_a_later_move_goes_on(slow_study, steps):
    study = slow_study
    study.start()
    steps.arrive()
    study.stop()
    steps.run()
    assert study.wait(5)
    assert study.status.phase == "stopped"
    assert study["slow"] == ("coarse", 0)
    study.set(y=2)
    assert study.wait(5)
    assert (study["quick"], study["slow"]) == (4, ("fine", 0))


def test_an_exception_is_shown_in_its_own_words_and_the_last_picture_stays(watched):
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

    watched(study)
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


def test_a_failure_of_an_old_position_does_not_block_the_new_one(slow_study, steps):
    study = slow_study

    @study.node
    def touchy(y):
        if y == 0:
            raise ValueError("y is 0")
        return y

    study.start()
    steps.arrive()
    study.set(y=5)
    steps.run()
    assert study.wait(20)
    assert (study.status.phase, study["touchy"]) == ("done", 5)


def test_progress_ends_stale_work_in_a_plain_node(steps):
    study, begun, ended = Study("plain"), [], []
    study.slider("x", 0, low=0, high=9)

    @study.node
    def value(x, progress):
        begun.append(x)
        for i in range(3):
            steps()
            progress(i, 3)
        ended.append(x)
        return x

    study.start()
    steps.arrive()
    study.set(x=7)
    steps.go()
    study.set(x=8)
    steps.run()
    assert study.wait(20)
    assert study["value"] == 8
    assert begun == [0, 7, 8]
    assert ended == [8]
    study.close()


def test_a_plain_node_that_reports_lets_others_be_dealt_with(steps):
    study, shown = Study("plain"), []
    study.slider("x", 0, low=0, high=9)
    study.slider("y", 0, low=0, high=9)

    @study.node
    def value(x, progress):
        for i in range(3):
            steps()
            progress(i, 3)
        return x

    @study.node
    def other(y, progress):
        progress(1, 2)
        return y

    @study.view
    def show(other):
        shown.append(other)

    study.start()
    steps.arrive()
    study.set(y=4)
    steps.go()
    assert shown == [4]
    assert not study.wait(0)
    steps.run()
    assert study.wait(20)
    assert (study["value"], study["other"]) == (0, 4)
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


def test_waiting_inside_a_view_is_refused_and_does_not_hang(study, watched):
    @study.view
    def waits(double):
        study.wait()

    watched(study)
    assert study.wait(10)
    assert study.status.message.startswith("RuntimeError: Study.wait: caller must be outside the study's functions")


def test_verify_after_a_stop_claims_nothing(slow_study, steps):
    def stop():
        steps.arrive()
        slow_study.stop()
        steps.run()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(RuntimeError, match=r"checks must run to their end, got a stop. Call verify\(\) again"):
        slow_study.verify(20)
    thread.join()


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


def test_a_view_that_fails_on_the_way_and_succeeds_in_the_end_has_not_failed(watched):
    study = Study("view")
    study.slider("x", 1, low=0, high=9)

    @study.node
    def grows(x):
        yield None
        yield x

    @study.view
    def show(grows):
        assert grows > 0

    watched(study)
    assert study.wait(10)
    assert study.status.phase == "done"
    study.close()


def test_two_checks_of_one_title_are_refused(study):
    @study.check
    def one(a):
        """Same."""
        return Check("pass", "")

    with pytest.raises(ValueError, match="check two must have a title of its own, got 'Same' twice"):

        @study.check
        def two(a):
            """Same."""
            return Check("fail", "")


def test_followers_hear_of_every_slider_that_moved(study):
    heard = []
    study.follow(heard.append)
    study.set(a=4, b=5)
    assert heard == [{"a": 4, "b": 5}]


# --- idle time ---


def at_rest(study):
    """A function that blocks until the worker has used its idle time once more."""
    ends = queue.SimpleQueue()
    leisure = study._work.latest._leisure

    def told():
        try:
            leisure()
        finally:
            ends.put(None)

    study._work.latest._leisure = told
    return lambda: ends.get(timeout=10)


def test_nothing_is_prefetched_before_a_slider_moves_on_show(study, calls, watched):
    rest = at_rest(study)
    study.set(a=5)
    rest()
    watched(study)
    rest()
    study.set(a=5)
    rest()
    assert study.verify(10)
    rest()
    assert calls == [("total", 5, 10), ("only_b", 10), ("double", 15)]


def test_the_next_positions_are_computed_once_and_nothing_else(study, calls, watched):
    rest = at_rest(study)
    watched(study)
    rest()
    computed = []
    for move in ({"a": 4}, {}, {"a": 5}, {"b": 9}):
        calls.clear()
        study.set(**move)
        rest()
        computed.append([call for call in calls if call[0] != "double"])
        assert [call for call in calls if call[0] == "double"] == [
            ("double", a + b) for name, a, b in (c for c in calls if c[0] == "total")
        ]
    assert computed == [
        [("total", 4, 10), ("total", 5, 10), ("total", 3, 10), ("total", 6, 10)],
        [],
        [("total", 7, 10)],  # 5, 4 and 6 are known
        [("total", 5, 9), ("only_b", 9), ("total", 5, 8), ("only_b", 8), ("total", 5, 7), ("only_b", 7)],
    ]


def test_a_prefetched_position_is_shown_without_a_call(study, calls, watched):
    rest, painted = at_rest(study), []

    @study.view
    def show(double):
        painted.append(double)

    watched(study)
    rest()
    study.set(a=2)
    rest()
    study._work.latest._leisure = lambda: None
    calls.clear()
    for a in (3, 4, 3, 1):
        study.set(a=a)
        assert study.wait(10)
    assert calls == []
    assert painted == [22, 24, 26, 28, 26, 22]


def test_prefetching_is_seen_by_nobody(watched):
    study = Study("unseen")
    study.slider("x", 0, low=0, high=9)
    seen = []

    @study.node
    def value(x, progress):
        yield ("coarse", x)
        if study.values["x"] != x:  # ahead of the slider
            seen.append("ahead")
            progress(1, 2)
        yield ("fine", x)

    @study.view
    def show(value):
        seen.append(value)

    @study.check
    def fine(value):
        """Fine."""
        seen.append(("checked", value))
        return Check("pass", f"{value}")

    rest = at_rest(study)
    watched(study)
    rest()
    study.listen(lambda study: seen.append(study.status.phase))
    study.set(x=4)
    rest()
    after = [("coarse", 4), ("fine", 4), ("checked", ("fine", 4)), "done", "ahead", "ahead", "ahead"]
    assert seen[seen.index("running") + 1 :] == after
    assert study["value"] == ("fine", 4)
    assert study.values == {"x": 4}
    assert study.checks == {"Fine": Check("pass", "('fine', 4)")}
    study.close()


def endless_ahead(form):
    """A study in which the position ahead of x = 1 is never computed to its end; tells when that begins."""
    study = Study("endless")
    study.slider("x", 0, low=0, high=9)
    begun = threading.Event()

    def ahead(x):
        return x > study.values["x"]

    def endlessly(progress):
        begun.set()
        while True:
            time.sleep(0.001)
            progress(0, 1)

    if form == "a plain node that reports progress":

        @study.node
        def value(x, progress):
            return endlessly(progress) if ahead(x) else x

    elif form == "a stream that reports progress":

        @study.node
        def value(x, progress):
            yield None
            if ahead(x):
                endlessly(progress)
            yield x

    elif form == "a stream that only yields":

        @study.node
        def value(x):
            while ahead(x):
                begun.set()
                time.sleep(0.001)
                yield None
            yield x

    return study, begun


FORMS = ["a plain node that reports progress", "a stream that reports progress", "a stream that only yields"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("moved", [1, 2, 5])
def test_prefetching_is_given_up_for_news_and_leaves_nothing_behind(form, moved, watched):
    study, begun = endless_ahead(form)
    watched(study)
    assert study.wait(10)
    study.set(x=1)
    assert begun.wait(10)
    study.set(x=moved)
    assert study.wait(10)
    assert study["value"] == moved
    assert study.verify(10)
    study.close()


@pytest.mark.parametrize("form", FORMS)
def test_nobody_waits_for_prefetching(form, watched):
    study, begun = endless_ahead(form)
    watched(study)
    assert study.wait(10)
    study.set(x=1)
    assert begun.wait(10)
    assert study.wait(0)
    assert study.status.phase == "done"
    assert study.verify(10)
    assert (study.status.phase, study["value"]) == ("done", 1)
    study.close()


@pytest.mark.parametrize("form", FORMS)
def test_stop_and_close_end_prefetching(form, watched):
    study, begun = endless_ahead(form)
    rest = at_rest(study)
    watched(study)
    rest()
    study.set(x=1)
    assert begun.wait(10)
    study.stop()
    rest()
    assert study.status.phase == "done"
    begun.clear()
    study.start()
    assert begun.wait(10)
    study.close()
    rest()
    assert study._work.latest.join(5)
    assert "lwidgets: endless" not in {thread.name for thread in threading.enumerate()}


def test_plain_nodes_are_given_up_one_by_one(watched):
    study = Study("chain")
    study.slider("x", 0, low=0, high=9)
    begun, go, computed = threading.Event(), threading.Event(), []

    @study.node
    def first(x):
        if x == 2:
            begun.set()
            assert go.wait(10)
        return x

    @study.node
    def second(first):
        computed.append(first)
        return first

    watched(study)
    assert study.wait(10)
    study.set(x=1)
    assert begun.wait(10)
    study.set(x=9)
    go.set()
    assert study.wait(10)
    assert 2 not in computed
    assert study["second"] == 9
    study.close()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_fails_ahead_is_told_only_to_those_who_go_there(error, watched):
    study = Study("fails ahead")
    study.slider("x", 0, low=0, high=9)
    computed = []

    @study.node
    def value(x):
        computed.append(x)
        if x == 3:
            raise error("no")
        return x

    rest = at_rest(study)
    watched(study)
    rest()
    study.set(x=2)
    rest()
    assert computed == [0, 2, 3, 1, 4]
    assert (study.status.phase, study.error, bool(study.verify(10))) == ("done", None, True)
    rest()
    study.set(x=3)
    rest()
    assert (study.status.phase, study.status.message) == ("failed", f"{error.__name__}: no")
    assert computed[-1] == 3  # after a failure nothing is prefetched
    study.close()


def test_what_takes_long_is_not_prefetched(study, calls, monkeypatch, watched):
    monkeypatch.setattr("lwidgets.study.worker._PREFETCHED", -1.0)
    rest = at_rest(study)
    watched(study)
    rest()
    study.set(a=2)
    rest()
    study.set(a=1)  # remembered, so it took no time now; but it did once
    rest()
    assert [call for call in calls if call[0] == "total"] == [("total", 1, 10), ("total", 2, 10)]


def test_what_takes_long_elsewhere_does_not_count(study, calls, watched):
    rest = at_rest(study)
    watched(study)
    rest()
    study._work._seconds[study._graph.functions["only_b"]] = 1e9
    study.set(a=2)
    rest()
    assert [call[1] for call in calls if call[0] == "total"] == [1, 2, 3, 4]


def test_a_node_without_room_is_computed_ahead_only_for_others_and_not_kept(watched):
    study = Study("room")
    study.slider("x", 0, low=0, high=9)
    calls = []

    @study.node(keep=1)
    def large(x):
        calls.append(("large", x))
        return [x]

    @study.node(keep=3)
    def three(x):
        calls.append(("three", x))
        return x

    @study.node(keep=4)
    def small(large):
        calls.append(("small", *large))
        return large[0]

    rest = at_rest(study)
    watched(study)
    rest()
    calls.clear()
    study.set(x=5)
    rest()
    here = [("large", 5), ("three", 5), ("small", 5)]
    assert calls == [*here, *((name, x) for x in (6, 4, 7) for name in ("large", "small"))]
    assert [list(memo.values()) for memo in study._work._memo.values()] == [[[5]], [0, 5], [6, 4, 7, 5]]
    study.close()


def test_a_bound_that_would_move_in_takes_its_slider_along_ahead_too(watched):
    study = Study("bounds ahead")
    study.slider("span", (0.0, 1.0), low=0.0, high=1.0, step=0.1)
    study.slider("alpha", 0.85, low=0.0, high=1.0, step=0.01, bounds="span")
    calls = []

    @study.node
    def value(span, alpha):
        calls.append((span, alpha))

    rest = at_rest(study)
    watched(study)
    rest()
    study.set(span=(0.0, 0.9))
    rest()
    assert calls[1:] == [((0.0, 0.9), 0.85), ((0.0, 0.8), 0.8), ((0.0, 0.7), 0.7)]
    calls.clear()
    study.set(span=(0.0, 0.8))
    rest()
    assert study.values["alpha"] == 0.8
    assert calls == [((0.0, 0.9), 0.8), ((0.0, 0.6), 0.6)]  # alpha stays where it was taken to
    calls.clear()
    study.set(alpha=0.79)
    rest()
    assert [alpha for _, alpha in calls] == [0.79, 0.78, 0.77]
    study.close()


def test_positions_that_differ_by_rounding_are_one():
    study = Study("rounding")
    study.slider("x", 0.5, low=0.0, high=1.0, step=0.1)
    calls = []

    @study.node
    def value(x):
        calls.append(x)
        return x

    for x in (0.3, 0.1 + 0.2, 0.5, 0.1 + 0.2):
        study.set(x=x)
        assert study.wait(10)
        assert study.is_current("value")
    assert calls == [0.3, 0.5]
    study.close()


def test_a_check_of_a_position_that_returns_is_remembered_and_one_that_broke_is_run_again():
    study = Study("remembered checks")
    study.slider("x", 0, low=0, high=9)
    calls = []

    @study.check
    def fine(x):
        """Fine."""
        calls.append(x)
        if len(calls) == 2:
            raise ValueError("no")
        return Check("pass", f"{x}")

    told = []
    for x in (0, 1, 0, 1, 0, 1):
        study.set(x=x)
        told.append(study.verify(10).checks["Fine"].detail)
    assert calls == [0, 1, 1]
    assert told == ["0", "could not be run: ValueError: no", "0", "1", "0", "1"]
    study.close()


def test_a_choice_may_be_none():
    study = Study("A choice")
    study.slider("which", None, options=(None, "x"))
    study.set(which="x")
    study.set(which=None)
    assert study["which"] is None
    study.close()


def test_a_slider_is_shown_with_earlier_ones_only():
    study = Study("s")
    with pytest.raises(ValueError, match=r"when must name earlier sliders, got 'method' for 'keep'\. Declare 'method'"):
        study.slider("keep", 0.2, low=0.0, high=1.0, when={"method": ("ties",)})
    study.close()


def test_a_check_refuses_an_argument_that_is_not_there():
    study = Study("s")
    study.slider("x", 1, low=0, high=2)
    with pytest.raises(ValueError, match=r"names must be arguments of small, got 'value'\. Check the spelling"):

        @study.check(value="x")
        def small(x):
            return Check.that(x < 2, "")

    study.close()


def test_a_slider_is_shown_with_values_the_other_may_have():
    study = Study("s")
    study.slider("method", "ties", options=("ties", "mean"))
    with pytest.raises(ValueError, match=r"when must list values of 'method', got 'ties'\. Pass \('ties',\)"):
        study.slider("keep", 0.2, low=0.0, high=1.0, when={"method": "ties"})
    with pytest.raises(ValueError, match=r"method must be one of 'ties', 'mean', got 'dare'"):
        study.slider("keep", 0.2, low=0.0, high=1.0, when={"method": ("dare",)})
    study.close()
