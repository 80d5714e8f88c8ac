"""When the notebook gets a picture to keep: at once, once it is final, and after a move where the page says so."""

import threading
import time
from types import SimpleNamespace

import pytest

import lwidgets as lw
from lwidgets import where
from lwidgets.study import Status
from lwidgets.where import LIVE, WIDGET, Run
from lwidgets.widgets import output
from lwidgets.widgets.output import Output


class Cell:
    """Takes down what is published; lets a test wait for the next."""

    def __init__(self):
        self.published = []
        self.news = threading.Condition()

    def display(self, data, *, raw, display_id, update):
        assert raw
        with self.news:
            self.published.append((update, display_id, data))
            self.news.notify_all()

    def wait_for(self, count):
        with self.news:
            return self.news.wait_for(lambda: len(self.published) >= count, timeout=20)


@pytest.fixture
def cell(monkeypatch):
    cell = Cell()
    monkeypatch.setattr("IPython.display.display", cell.display)
    monkeypatch.setattr(output, "somebody_is_there", lambda: True)
    monkeypatch.setattr(output, "_REST", 0.05)
    return cell


@pytest.fixture
def widget():
    bowl = lw.Objective.from_function(lambda u: 1 + (u**2).sum(dim=1), dim=2)
    explorer = lw.SurfaceExplorer(bowl, resolution=9)
    yield explorer
    explorer.close()


def shown(widget):
    Output(widget).show()


def test_first_without_a_still_then_whole(cell, widget):
    shown(widget)
    assert cell.wait_for(2)
    (first, a, early), (second, b, late) = cell.published
    assert (first, second) == (False, True)
    assert a == b
    assert WIDGET in early
    assert WIDGET in late
    assert "image/png" not in early
    assert "image/png" in late


@pytest.mark.parametrize("keeps", [False, True])
def test_a_moved_slider_is_kept_only_where_the_widget_stays(keeps, cell, widget):
    shown(widget)
    assert cell.wait_for(2)
    widget.status_bar.keeps = keeps
    widget.resolution = 17
    assert widget.wait(20)
    if keeps:
        assert cell.wait_for(3)
        late = cell.published[-1][2]
        assert "resolution=17" in late["text/plain"]
        assert late[LIVE]["model_id"] == widget.model_id
        assert WIDGET not in late
    else:
        time.sleep(0.3)
        assert len(cell.published) == 2


def test_a_notebook_that_our_extension_shows_holds_no_widget_view(cell, widget):
    """A web page made of a notebook that holds the widgets' state would show that, and offline nothing."""
    shown(widget)
    assert cell.wait_for(2)
    for keeps, here, gone in ((True, LIVE, WIDGET), (False, WIDGET, LIVE)):
        count = len(cell.published)
        widget.status_bar.keeps = keeps
        assert cell.wait_for(count + 1)
        late = cell.published[-1][2]
        assert late[here]["model_id"] == widget.model_id
        assert gone not in late
        assert "image/png" in late


def test_many_moves_are_kept_once(cell, widget):
    widget.status_bar.keeps = True
    shown(widget)
    assert cell.wait_for(2)
    output_rest = 0.4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "_REST", output_rest)
        for resolution in (17, 33, 5):
            widget.resolution = resolution
            assert widget.wait(20)
        assert cell.wait_for(3)
    time.sleep(2 * output_rest)
    assert len(cell.published) == 3
    assert "resolution=5" in cell.published[-1][2]["text/plain"]


def test_a_picture_that_a_move_overtook_is_not_kept(cell, widget, monkeypatch):
    widget.status_bar.keeps = True
    shown(widget)
    assert cell.wait_for(2)
    whole = type(widget).bundle
    taken = []

    def slow(self, **options):
        found = whole(self, **options)
        taken.append(found)
        if len(taken) == 1:
            self.study._work.status = Status("running")
        return found

    monkeypatch.setattr(type(widget), "bundle", slow)
    widget.resolution = 17
    deadline = time.monotonic() + 20
    while not taken and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    assert len(taken) == 1
    assert len(cell.published) == 2


def test_a_run_that_nobody_watches_waits_for_the_picture(cell, widget, monkeypatch):
    monkeypatch.setattr(output, "somebody_is_there", lambda: False)
    shown(widget)
    ((update, _, data),) = cell.published
    assert not update
    assert "image/png" in data
    assert not {LIVE, WIDGET} & set(data)
    assert widget.study.status.phase == "done"
    time.sleep(0.3)
    assert len(cell.published) == 1


def test_a_page_that_is_served_gets_the_widget(monkeypatch):
    monkeypatch.setattr(where, "_kernel", lambda: SimpleNamespace(_allow_stdin=False))
    assert not where.somebody_is_there()
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.8")
    assert where.somebody_is_there()


def test_the_cell_is_what_the_front_end_says(monkeypatch):
    parent = {"header": {"msg_id": "m1"}, "metadata": {"cellId": "c1"}}
    monkeypatch.setattr(where, "_kernel", lambda: SimpleNamespace(get_parent=lambda channel: parent))
    assert where.running_cell() == Run("c1", "m1")
    parent["metadata"] = {}
    assert where.running_cell() is None


@pytest.fixture
def explorers():
    made = []

    def make():
        made.append(lw.SurfaceExplorer(lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2), resolution=5))
        return made[-1]

    yield make
    for explorer in made:
        explorer.close()


def test_an_explorer_whose_cell_is_run_again_is_closed(cell, explorers, monkeypatch):
    def run(name, number, *shown):
        monkeypatch.setattr(output, "running_cell", lambda: Run(name, number))
        for widget in shown:
            outputs.setdefault(widget, Output(widget)).show()

    outputs = {}
    first, beside, elsewhere = explorers(), explorers(), explorers()
    run("a", "1", first, beside)  # two in one cell
    run("b", "2", elsewhere)
    assert all(widget._open for widget in (first, beside, elsewhere))
    run("c", "3", beside)  # which is then on show in two
    second = explorers()
    run("a", "4", second)
    assert not first._open
    assert all(widget._open for widget in (beside, elsewhere, second))
    run("a", "5", second)  # the same again
    assert second._open
    run("c", "6", elsewhere)
    assert not beside._open
    run("b", "7", second)
    assert elsewhere._open  # it is in c, too


def test_without_a_word_about_the_cell_nothing_is_closed(cell, explorers, monkeypatch):
    monkeypatch.setattr(output, "running_cell", lambda: None)
    first, second = explorers(), explorers()
    for widget in (first, second):
        Output(widget).show()
    assert all(widget._open for widget in (first, second))
