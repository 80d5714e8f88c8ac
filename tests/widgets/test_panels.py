"""Where pictures are on the page: nothing where nothing is shown, and side by side where that was asked for."""

import pytest
from ipywidgets.widgets.widget import _instances

from lwidgets.pictures import Curves, Series, Table, Words
from lwidgets.study import Study
from lwidgets.widgets.bqplot_curves import CurvesView
from lwidgets.widgets.panels import Panels
from lwidgets.widgets.parts import close_with_parts
from lwidgets.widgets.picture import PictureView

LINE = Curves([Series([0, 1], [0, 1])])


@pytest.fixture
def panels():
    study = Study("Three")

    @study.view
    def first():
        return None

    @study.view(beside="first")
    def second():
        return None

    @study.view
    def third():
        return None

    made = Panels(study.panels)
    yield made
    close_with_parts(made)
    study.close()


def columns(panels):
    return [row.layout.grid_template_columns for row in panels.children]


def test_places_stand_in_the_studys_order_with_two_in_a_row(panels):
    places = panels.places
    assert [row.children for row in panels.children] == [(places["first"], places["second"]), (places["third"],)]


def test_curves_are_drawn_by_bqplot_and_all_else_by_our_own_view(panels):
    assert panels.show("first", LINE)
    assert panels.show("second", Words("w"))
    assert isinstance(panels.places["first"].view, CurvesView)
    assert isinstance(panels.places["second"].view, PictureView)
    assert [name for name, _ in panels.views()] == ["first", "second"]


def test_two_columns_only_while_both_are_shown(panels):
    panels.show("first", LINE)
    assert columns(panels)[0] == "100%"
    panels.show("second", Words("w"))
    assert columns(panels)[0].startswith("repeat(auto-fit")
    panels.show("first", None)
    assert columns(panels)[0] == "100%"


def test_what_is_not_shown_is_not_on_the_page_and_comes_back_as_it_was(panels):
    place = panels.places["third"]
    assert (place.children, place.layout.display) == ((), "none")
    panels.show("third", Words("a"))
    view = place.view
    assert (place.children, place.layout.display) == ((view,), "")
    panels.show("third", None)
    assert (place.children, place.layout.display) == ((), "none")
    assert view.comm is not None
    assert not panels.show("third", Words("b"))
    assert place.view is view
    assert view.picture["text"] == "b"


def test_kinds_of_our_own_view_share_it_and_another_replaces_it(panels):
    panels.show("third", Words("a"))
    before = panels.places["third"].view
    assert panels.show("third", LINE)
    assert before.comm is None
    assert isinstance(panels.places["third"].view, CurvesView)
    assert panels.show("third", Table(("a",), [("1",)]))
    assert panels.places["third"].view.picture["kind"] == "table"


def test_all_is_given_back():
    study = Study("One")

    @study.view
    def only():
        return None

    before = set(_instances)
    panels = Panels(study.panels)
    panels.show("only", LINE)
    panels.show("only", None)  # out of sight
    close_with_parts(panels)
    assert set(_instances) == before
    study.close()
