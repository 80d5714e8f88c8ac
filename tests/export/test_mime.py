"""What a notebook keeps of a landscape."""

import base64
import json

import pytest
from ipywidgets.widgets.widget import _instances

import lwidgets as lw
from lwidgets.export import mime
from lwidgets.export.companion import MIME


def bowl(dim, resolution=9):
    objective = lw.Objective.from_function(lambda u: 1 + (u**2).sum(dim=1), dim=dim)
    return lw.sample(objective, lw.Subspace.identity(dim), resolution=resolution)


@pytest.mark.parametrize(("dim", "kind"), [(1, "line_plot"), (2, "height_field")])
def test_a_picture_a_still_and_a_line(dim, kind):
    landscape = bowl(dim)
    found = mime.bundle(landscape)
    assert found["text/plain"] == repr(landscape)
    assert base64.b64decode(found["image/png"]).startswith(b"\x89PNG")
    json.dumps(found[MIME], allow_nan=False)
    assert found[MIME]["studies"][0]["views"] == [{"kind": kind}]


def test_no_widget_is_made_for_it():
    before = set(_instances)
    mime.bundle(bowl(1))
    mime.bundle(bowl(2))
    assert set(_instances) == before


def test_one_that_is_too_large_leaves_the_still_and_says_so(monkeypatch):
    monkeypatch.setattr(mime, "BUDGET", 1000)
    with pytest.warns(UserWarning, match="must stay within 0.001 MB"):
        found = mime.bundle(bowl(2, 33))
    assert MIME not in found
    assert "image/png" in found


def test_outside_a_notebook_it_is_only_text():
    landscape = bowl(1)
    assert landscape._repr_mimebundle_() == {"text/plain": repr(landscape)}
