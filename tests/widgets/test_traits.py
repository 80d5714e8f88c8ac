"""The contract with the browser: trait names, what is synchronised, and messages that come back."""

import json

import numpy as np
import pytest
import traitlets

from lwidgets.widgets import height_field
from lwidgets.widgets.checks import ChecksPanel
from lwidgets.widgets.height_field import HeightField, frame
from lwidgets.widgets.status import StatusBar


def synced(widget):
    inherited = set(HeightField.__mro__[1].class_trait_names(sync=True)) | {"_esm", "_css", "_anywidget_id"}
    return set(widget.trait_names(sync=True)) - inherited


@pytest.mark.parametrize(
    ("widget", "names"),
    [
        (HeightField, "frame panes camera point show_points contours markers paths description"),
        (StatusBar, "keeps status"),
        (ChecksPanel, "checks"),
    ],
)
def test_traits_that_cross(widget, names):
    assert synced(widget()) == set(names.split())


def test_a_frame_crosses_as_one_state_with_binary_buffers():
    packed = frame([0, 1, 2], [0, 1], {"loss": np.ones((3, 2))}, np.ones((3, 2)), {}, metric="loss")
    widget = HeightField(frame=packed)
    assert widget.get_state("frame")["frame"] == packed
    assert {name for name, value in packed.items() if isinstance(value, bytes)} == {"x", "y", "values", "evaluated"}


def test_camera_is_not_echoed():
    assert HeightField.camera.metadata["echo_update"] is False


@pytest.mark.parametrize("point", [[], [0.25, -3.0]])
def test_point_is_a_pair_or_nothing(point):
    assert HeightField(point=point).point == point


@pytest.mark.parametrize("point", [[1.0], [1.0, float("nan")], [1.0, 2.0, 3.0]])
def test_point_refuses_anything_else(point):
    with pytest.raises(
        traitlets.TraitError, match=r"^HeightField: point must be \[x, y\] with finite numbers, or \[\]"
    ):
        HeightField(point=point)


def a_path(**changes):
    return {"x": [0.0, 0.5, 1.0], "y": [1, 2, 3], "label": "straight", "color": "#0072B2", **changes}


@pytest.mark.parametrize("sequence", [list, tuple, np.array, lambda v: np.array(v, np.float32)])
def test_paths_cross_as_json_whatever_sequences_were_given(sequence):
    given = a_path(x=sequence([0.0, 0.5, 1.0]), y=sequence([1, 2, 3]))
    widget = HeightField(paths=[given, a_path(dashed=True, label="")])
    plain = {"x": [0.0, 0.5, 1.0], "y": [1.0, 2.0, 3.0], "label": "straight", "color": "#0072B2", "dashed": False}
    assert widget.get_state("paths")["paths"] == [plain, {**plain, "dashed": True, "label": ""}]
    assert json.loads(json.dumps(widget.paths)) == widget.paths
    assert "dashed" not in given
    assert type(given["x"]) is type(sequence([0.0]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": [0.0, 1.0]}, r"\.y must be as long as x, got 3 for 2. Pass"),
        ({"x": [0.0], "y": [1.0]}, r"\.x must hold two or more finite numbers, got shape \(1,\)"),
        ({"y": [[1, 2, 3]]}, r"\.y must hold two or more finite numbers, got shape \(1, 3\)"),
        ({"y": [1, float("nan"), 3]}, r"\.y must hold two or more finite numbers, got nan at index 1"),
        ({"x": [0, 1, -float("inf")]}, r"\.x must hold two or more finite numbers, got -inf at index 2"),
        ({"x": "abc"}, r"\.x must be numbers, got 'abc'. Pass"),
        ({"x": [[0], [1, 2]]}, r"\.x must be numbers, got \[\[0\], \[1, 2\]\]"),
        ({"color": "red"}, r"\.color must be #rrggbb, got 'red'. "),
        ({"color": "#0072B2\n"}, r"\.color must be #rrggbb"),
        ({"color": "#0072B2ff"}, r"\.color must be #rrggbb"),
        ({"label": None}, r'\.label must be text, got None. Pass "" for'),
        ({"dashed": "yes"}, r"\.dashed must be True or False, got 'yes'"),
        ({"width": 3}, r" must have color, dashed, label, x, y, got color, label, width, x, y. "),
    ],
)
def test_paths_refuse_anything_else(changes, message):
    with pytest.raises(traitlets.TraitError, match=r"^HeightField: paths\[1\]" + message):
        HeightField(paths=[a_path(), a_path(**changes)])


def test_a_path_without_a_colour_is_refused():
    nameless = a_path()
    del nameless["color"]
    with pytest.raises(traitlets.TraitError, match=r"^HeightField: paths\[0\] must have .* got label, x, y\. "):
        HeightField(paths=[nameless])


def test_stop_button_calls_back_until_removed():
    status, calls = StatusBar(), []

    def stop():
        calls.append("stop")

    status.on_stop(stop)
    status._handle_custom_msg({"type": "stop"}, [])
    status._handle_custom_msg({"type": "something else"}, [])
    assert calls == ["stop"]
    status.on_stop(stop, remove=True)
    status._handle_custom_msg({"type": "stop"}, [])
    assert calls == ["stop"]


def test_a_missing_script_says_how_to_build_it(monkeypatch, tmp_path):
    monkeypatch.setattr(height_field, "__file__", str(tmp_path / "lwidgets" / "widgets" / "height_field.py"))
    message = r"^script: lwidgets/static must hold height_field.js, got no such file. Run `make build`.$"
    with pytest.raises(FileNotFoundError, match=message):
        height_field.script("height_field.js")
