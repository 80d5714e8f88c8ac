"""When the notebook gets a picture to keep: at once, once it is final, and after a move where the page says so."""

import threading
import time

import pytest

import lwidgets as lw
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
        assert "resolution=17" in cell.published[-1][2]["text/plain"]
    else:
        time.sleep(0.3)
        assert len(cell.published) == 2


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

    def slow(self, *, still):
        found = whole(self, still=still)
        taken.append(found)
        if len(taken) == 1:
            self.study.status = lw.study.Status("running")
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
    assert widget.study.status.phase == "done"
    time.sleep(0.3)
    assert len(cell.published) == 1
