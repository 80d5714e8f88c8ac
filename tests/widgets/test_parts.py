"""What a widget consists of is given back with it, all of it, and nothing that somebody else still has."""

import gc

import ipywidgets as W
import pytest
import torch
from ipywidgets.widgets.widget import _instances

import lwidgets as lw
from lwidgets.pictures import Words
from lwidgets.widgets.panels import Place
from lwidgets.widgets.parts import close_with_parts, parts_of

MAKERS = {
    "surface": lambda o, a, b: lw.SurfaceExplorer(o, resolution=9, envelope=2, log_height=True),
    "plane": lambda o, a, b: lw.SurfaceExplorer(o, lw.Plane.through(a, b, o.module), resolution=9),
    "curve": lambda o, a, b: lw.CurveExplorer(o, a, b, resolution=9),
    "layers": lambda o, a, b: lw.LayerwiseExplorer(o, a, b),
    "connectivity": lambda o, a, b: lw.ConnectivityExplorer(o, a, b),
    "merging": lambda o, a, b: lw.MergingExplorer(a, [b, o.module], o, plane=False, compare=False),
}


@pytest.fixture(scope="module")
def demo():
    return lw.demo.digits(hidden=(4,), steps=2)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("at_once", [False, True])
def test_an_explorer_leaves_nothing_open(kind, at_once, demo):
    before = set(_instances)
    explorer = MAKERS[kind](*demo)
    if not at_once:
        assert explorer.wait(120)
        explorer.study.set(log_height=True)  # other axes, other marks
        assert explorer.wait(120)
    made = len(set(_instances) - before)
    explorer.close()
    assert explorer.study._work.latest.join(10)
    left = [type(_instances[key]).__name__ for key in set(_instances) - before]
    assert made > 30
    assert left == []


def test_what_somebody_else_has_stays_open():
    shared, own = W.Layout(), W.Layout()
    mine = W.HBox([W.IntSlider(layout=shared), W.Label(layout=own)])
    theirs = W.Text(layout=shared)
    close_with_parts(mine)
    assert theirs.comm is not None
    assert shared.comm is not None
    assert own.comm is None
    assert all(part.comm is None for part in mine.children)
    close_with_parts(theirs)
    assert shared.comm is None


def test_parts_are_found_however_far_down():
    place = Place()
    outer = W.VBox([W.HBox([place])])
    assert [type(part).__name__ for part in parts_of(outer)] == ["VBox", "HBox", "Place", "Layout", "Layout", "Layout"]
    place.show(Words("a"))
    view = place.view
    assert view in parts_of(outer)
    place.show(None)
    assert place.children == ()
    assert view in parts_of(outer)  # though it is not on the page
    close_with_parts(outer)
    assert view.comm is None


def test_nothing_of_a_closed_explorer_stays_in_memory(demo):
    import weakref

    model = torch.nn.Linear(64, 10)
    objective = lw.Objective(model, demo[0].data.batches, loss=torch.nn.functional.cross_entropy)
    explorer = lw.SurfaceExplorer(objective, resolution=5)
    assert explorer.wait(60)
    explorer.close()
    assert explorer.study._work.latest.join(10)
    references = weakref.ref(explorer), weakref.ref(objective), weakref.ref(model)
    del explorer, objective, model
    gc.collect()
    assert [reference() for reference in references] == [None] * 3
