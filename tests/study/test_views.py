"""Views: pictures as values, panels of several layers, what is refused, what is claimed, and what is watched."""

import pytest

from lwidgets.study import Check, Study


@pytest.fixture
def study(pictures):
    study = Study("views")
    study.slider("a", 2, low=-9, high=9)
    study.slider("b", 0, low=-9, high=9)
    yield study
    study.close()


def test_a_picture_is_there_without_a_widget_for_coarse_values_and_for_the_final_one(study, note):
    seen = []
    study.watch(lambda study, view: seen.append((view, study.pictures["loss"].values)))

    @study.node
    def grows(a):
        yield a
        yield a + 1

    @study.view
    def loss(grows):
        return note(grows)

    assert study.pictures == {"loss": None}
    assert study.verify(10)
    assert study.pictures["loss"].values == (3,)
    assert seen == [("loss", (2,)), ("loss", (3,))]


def test_layers_lie_over_each_other_and_only_what_changed_is_new(study, note):
    made = []
    study.watch(lambda _, view: made.append(view))

    @study.view
    def loss(a):
        return note(a)

    @study.view(on="loss")
    def mark(b):
        return note(10 + b) if b >= 0 else None

    @study.view(beside="loss")
    def other(a):
        "The other one."
        return note(-a)

    assert [(p.name, p.beside, p.layers, p.title) for p in study.panels] == [
        ("loss", "", ("loss", "mark"), "loss"),
        ("other", "loss", ("other",), "The other one"),
    ]
    study.start()
    assert study.wait(10)
    first = study.pictures
    assert (first["loss"].values, first["other"].values) == ((2, 10), (-2,))
    assert study.layers["mark"].values == (10,)
    made.clear()
    study.set(b=1)
    assert study.wait(10)
    second = study.pictures
    assert second["loss"].values == (2, 11)
    assert second["other"] is first["other"]
    assert made == ["mark"]
    study.set(b=-1)
    assert study.wait(10)
    assert study.pictures["loss"].values == (2,)
    assert study.held == {"loss": {}, "other": {}}


def test_a_panel_without_its_first_layer_is_not_shown(study, note):
    @study.view
    def loss(a):
        return note(a) if a > 0 else None

    @study.view(on="loss")
    def mark(b):
        return note(b)

    study.set(a=-1)
    assert study.wait(10)
    assert study.layers["mark"] is not None
    assert study.pictures == {"loss": None}
    study.set(a=1)
    assert study.wait(10)
    assert study.pictures["loss"].values == (1, 0)


def test_a_view_that_fails_keeps_its_last_picture_and_is_reported(study, note):
    @study.view
    def loss(a):
        return note(1 / a)

    assert study.verify(10)
    before = study.pictures["loss"]
    study.set(a=0)
    report = study.verify(10)
    assert not report
    assert report.checks["view loss"] == Check("fail", "ZeroDivisionError: division by zero")
    assert study.pictures["loss"] is before
    study.set(a=1)
    assert study.verify(10)


def test_a_view_that_returns_something_else_is_told_what_it_may_return(study):
    @study.view
    def loss(a):
        return [a]

    detail = study.verify(10).checks["view loss"].detail
    assert "Study: view loss must return one of" in detail
    assert "Note, Other or None, got list" in detail


@pytest.mark.parametrize("kind", ["other", "stubborn"])
def test_a_layer_that_does_not_fit_is_refused_and_the_rest_is_shown(study, note, pictures, kind):
    @study.view
    def loss(a):
        return note(a)

    @study.view(on="loss")
    def mark(b):
        if b > 0:
            return pictures[1]() if kind == "other" else note("stubborn")
        return note(b)

    assert study.verify(10)
    study.set(b=1)
    detail = study.verify(10).checks["view mark"].detail
    expected = {
        "other": "TypeError: Study: view mark must return what can be laid over loss, Note, got Other",
        "stubborn": "ValueError: does not lie on anything",
    }
    assert detail.startswith(expected[kind])
    assert study.pictures["loss"].values == (2,)
    study.set(b=0)
    assert study.verify(10)
    assert study.pictures["loss"].values == (2, 0)


def test_panels_that_are_not_there_are_refused(study, note):
    @study.view
    def loss(a):
        return note(a)

    @study.view(on="loss")
    def mark(a):
        return note(a)

    for options in ({"on": "mark"}, {"on": "los"}, {"beside": "mark"}, {"on": "late"}):
        with pytest.raises(ValueError, match=r"must name an earlier panel, got '\w+' for late. Panels are loss"):

            @study.view(**options)
            def late(a):
                return note(a)

    with pytest.raises(ValueError, match="a view must be on a panel or beside one"):
        study.view(on="loss", beside="loss")
    with pytest.raises(ValueError, match="'loss' must be a new name, got a second view where there is a view"):

        @study.view
        def loss(b):
            return note(b)

    assert [panel.layers for panel in study.panels] == [("loss", "mark")]


def test_what_a_picture_claims_is_a_check_titled_by_its_view(study, note):
    @study.view
    def loss(a):
        """Loss is even."""
        return note(a, claims_even=True)

    assert study.verify(10).checks == {"Loss is even": Check("pass", "(2,)")}
    study.set(a=3)
    assert study.verify(10).checks == {"Loss is even": Check("fail", "(3,)")}


def test_a_check_can_look_at_a_picture(study, note):
    @study.node
    def grows(a):
        yield 0
        yield a

    @study.view
    def loss(grows):
        return note(grows)

    @study.oracle(tol=0)
    def drawn(loss, a):
        """What is drawn is right"""
        return loss.values[0], a

    assert study.verify(10).checks["What is drawn is right"].state == "pass"
    with pytest.raises(ValueError, match="must name sliders or earlier nodes, got 'loss'"):

        @study.node
        def of_a_picture(loss):
            return loss


def test_a_painter_that_fails_does_not_end_the_worker_and_one_that_left_is_not_called(study, note, capsys):
    @study.view
    def loss(a):
        return note(a)

    called = []
    end = study.watch(lambda *told: called.append(told))
    study.watch(lambda *_: 1 / 0)
    assert study.verify(10)
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert called == [(study, "loss")]
    end()
    end()
    study.set(a=1)
    assert study.verify(10)
    assert len(called) == 1


def test_pictures_that_are_ready_do_not_wait_for_what_takes_long(study, note, steps, monkeypatch):
    monkeypatch.setattr("lwidgets.study.worker._HEAVY", 0.05)

    @study.node
    def heavy(a):
        if a == 3:
            steps()
        return a

    @study.node
    def light(a):
        return a

    @study.view
    def loss(light):
        return note(light)

    study.start()
    assert study.wait(10)
    study._work._seconds[study._graph.functions["heavy"]] = 1.0
    study.set(a=3)
    steps.arrive()
    assert study.pictures["loss"].values == (3,)
    assert study["heavy"] == 2
    steps.run()
    assert study.wait(10)
    assert study["heavy"] == 3


def test_a_heavy_node_that_fails_for_a_coarse_value_is_tried_once(study, monkeypatch):
    monkeypatch.setattr("lwidgets.study.worker._HEAVY", -1.0)
    tried = []

    @study.node
    def grows(a):
        yield None
        yield a

    @study.node
    def heavy(grows):
        tried.append(grows)
        return grows + 1

    study.start()
    assert study.wait(10)
    study.set(a=5)
    assert study.wait(10)
    assert tried == [None, 2, None, 5]
    assert study["heavy"] == 6
