"""The contract with the browser: trait names, what is synchronised, and messages that come back."""

import anywidget
import pytest

from lwidgets import assets
from lwidgets.widgets.checks import ChecksPanel
from lwidgets.widgets.picture import PictureView
from lwidgets.widgets.status import StatusBar


def synced(widget):
    inherited = set(anywidget.AnyWidget.class_trait_names(sync=True)) | {"_esm", "_css", "_anywidget_id"}
    return set(widget.trait_names(sync=True)) - inherited


@pytest.mark.parametrize(
    ("widget", "names"),
    [(PictureView, "arrays held picture"), (StatusBar, "keeps status"), (ChecksPanel, "checks")],
)
def test_traits_that_cross(widget, names):
    assert synced(widget()) == set(names.split())


def test_what_a_person_holds_is_not_echoed():
    assert PictureView.held.metadata["echo_update"] is False


@pytest.mark.parametrize("point", [[], [0.25, -3.0]])
def test_a_point_is_a_pair_or_nothing(point):
    assert PictureView(held={"point": point}).held == {"point": point}


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
    monkeypatch.setattr(assets, "__file__", str(tmp_path / "lwidgets" / "assets.py"))
    message = r"^script: lwidgets/static must hold picture.js, got no such file. Run `make build`.$"
    with pytest.raises(FileNotFoundError, match=message):
        assets.script("picture.js")
