"""Documents as Python writes them and as the page's own TypeScript reads them."""

import json
import math
import os
import shutil
import subprocess
from pathlib import Path as File

import numpy as np
import pytest

import lwidgets as lw
from lwidgets.check import Check
from lwidgets.export.document import document
from lwidgets.export.recording import record, recording_of
from lwidgets.pictures import Curves, Marker, Path, Reference, Rule, Series, Surface, Table, Words
from lwidgets.study.sliders import positions_of

ROOT = File(__file__).parents[2]
ESBUILD = ROOT / "js" / "node_modules" / ".bin" / "esbuild"
pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not there, which reads as a page does"),
    pytest.mark.skipif(not ESBUILD.exists(), reason="esbuild is not there: run npm ci in js/"),
]

X, Y, T = np.linspace(-1, 1, 9), np.linspace(0, 3, 5), np.linspace(0.1, 1, 11)
ODD = np.where(T > 0.8, np.nan, T)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """The TypeScript that reads documents, as one script."""
    made = tmp_path_factory.mktemp("reader") / "read.mjs"
    command = [ESBUILD, ROOT / "tests" / "export" / "read.ts", "--bundle", "--format=esm", "--platform=node"]
    subprocess.run([*command, f"--outfile={made}", "--log-level=error"], check=True)
    return made


@pytest.fixture
def read(reader):
    def read(told):
        text = json.dumps(told, allow_nan=False)
        command = ["node", reader, str(len(told["arrays"]))]
        environment = {"PATH": os.environ["PATH"]}
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    return read


def numbers(found, index):
    array = found["arrays"][index]
    values = [float(value) if isinstance(value, str) else value for value in array["values"]]
    return np.array(values).reshape(array["shape"])


def land(values, **more):
    return lw.Landscape(
        (X, Y), ("x", "y"), ("along x", "along y"), {"loss": values}, X[:, None] + 0 * Y > 0, 20, {"loss": 0.25}, **more
    )


BOWL = 1 + X[:, None] ** 2 + Y
HOLES = np.where(BOWL > 4, np.nan, BOWL)
GD = Path([0, 0.5, 1], [0, 1, 2], "GD", "#D55E00", dashed=True, time=[0, 1, 2], loss=[3, 2, 1], residual=[0, 0.1, 0.2])
SURFACES = {
    "plain": Surface(land(BOWL)),
    "all of it": Surface(
        land(HOLES),
        log=True,
        colormap="magma",
        markers=[Marker(0, 1, "a"), Marker(9, 1, "far")],
        paths=[GD, Path([0, 1], [0, 0])],
        description="A bowl.",
        panes=("surface",),
        camera={"yaw": 1.0, "zoom": 2.0},
        show_points=True,
        contours=0,
    ),
    "cells": Surface.matrix(BOWL, ([f"m{k}" for k in range(9)], Y), labels=("model", "rate"), metric="accuracy"),
}


@pytest.mark.parametrize("name", SURFACES)
def test_surfaces(read, name):
    picture = SURFACES[name]
    found = read(document([recording_of(picture)], "Title"))
    (study,) = found["studies"]
    assert study["panels"] == [{"name": "picture", "kind": "surface", "beside": ""}]
    ((shown,),) = study["frames"]
    head, landscape = shown["head"], picture.landscape
    assert found["title"] == "Title"
    assert (head["nx"], head["ny"]) == landscape.shape
    assert (head["metrics"], head["metric"]) == ([picture.metric], picture.metric)
    assert (head["labels"], head["log"], head["colormap"]) == ([*landscape.labels], picture.log, picture.colormap)
    assert head["final"] is landscape.final
    assert head["errors"] == [landscape.error[picture.metric]]
    assert head["names"] == ([list(axis) for axis in picture.cells] if picture.cells else None)
    for axis, own in zip("xy", landscape.coords, strict=True):
        np.testing.assert_allclose(numbers(found, shown[axis]), own, rtol=1e-6)
    values, truth = numbers(found, shown["values"][0]), landscape.values[picture.metric]
    np.testing.assert_allclose(values, truth, atol=1e-4 * np.ptp(truth[np.isfinite(truth)]))
    np.testing.assert_array_equal(numbers(found, shown["evaluated"]), landscape.evaluated)
    assert shown["markers"] == [{"x": one.x, "y": one.y, "label": one.label} for one in picture.markers]
    for got, path in zip(shown["paths"], picture.colored, strict=True):
        assert (got["label"], got["color"], got["dashed"]) == (path.label, path.color, path.dashed)
        for part in ("x", "y", "time", "loss", "residual"):
            own = getattr(path, part)
            assert (part in got) is (own is not None)
            if own is not None:
                np.testing.assert_allclose(numbers(found, got[part]), own, rtol=1e-6)
    assert (shown["description"], shown["panes"]) == (picture.description, [*picture.panes])
    assert (shown["camera"], shown["showPoints"], shown["contours"]) == (
        {**picture.camera},
        picture.show_points,
        picture.contours,
    )
    assert shown["missable"] == (landscape.missable if landscape.blind_spot else "")


CURVES = {
    "every style": Curves(
        [
            Series(T, T**2, "solid"),
            Series(T, ODD, "dashed", style="dashed", width=1.5, opacity=0.5),
            Series(T, 10 * T, "points", "#123456", style="points"),
            Series(T, np.stack([T, T + 1]), "band", style="band"),
            Series(np.append(T, 2), T, "bars", style="bars"),
            Series(T, T, "stems", style="stems"),
            Series(T, np.stack([T, T + 1, T + 2]), "runs"),
            Series(T, np.stack([T, T + 1, T + 2]), "spread", spread=0.5),
            Reference(T, T**2, of="solid", tol=1e-6),
            Rule(y=0.5, label="half"),
            Rule(x=0.5),
        ],
        x="t",
        y="loss",
        caption="Below it.",
    ),
    "logarithmic": Curves([Series(T, 10 ** (6 * T), "a"), Series(T, 0 * T, "none")], log="xy", x="t", y="loss"),
    "equal": Curves([Series(np.cos(6 * T), np.sin(6 * T))], equal=True, x_range=(-2, 2)),
    "empty": Curves([Series([], [], "none yet")]),
    "no items": Curves([]),
}


@pytest.mark.parametrize("name", CURVES)
def test_curves(read, name):
    picture = CURVES[name]
    found = read(document([recording_of(picture)], ""))
    ((shown,),) = found["studies"][0]["frames"]
    assert (shown["xLabel"], shown["yLabel"], shown["caption"]) == (picture.x, picture.y, picture.caption)
    assert (shown["xLog"], shown["yLog"], shown["equal"]) == ("x" in picture.log, "y" in picture.log, picture.equal)
    assert (tuple(shown["xRange"]), tuple(shown["yRange"])) == picture.ranges
    assert len(shown["series"]) == len(picture.strokes)
    for got, stroke in zip(shown["series"], picture.strokes, strict=True):
        for part in ("label", "color", "style", "width", "opacity"):
            assert got[part] == getattr(stroke, part)
        np.testing.assert_allclose(numbers(found, got["x"]), stroke.x, rtol=1e-6)
        finite = stroke.y[np.isfinite(stroke.y)]
        if "y" in picture.log:
            np.testing.assert_allclose(numbers(found, got["y"]), stroke.y, rtol=1e-3)
        else:
            room = 1e-4 * np.ptp(finite) + 1e-7 if finite.size else 0
            np.testing.assert_allclose(numbers(found, got["y"]), stroke.y, atol=room)


def test_tables_and_words(read):
    table = Table(
        ("path", "loss"), [("a", "1"), ("b", "")], title="T", colors=("#0072B2", ""), chosen=1, notes=["n"], folded=True
    )
    words = Words("one\ntwo", title="Note", tone="alert")
    found = read(document([recording_of(table), recording_of(words)], ""))
    ((shown,),), ((told,),) = (study["frames"] for study in found["studies"])
    assert shown == {
        "title": "T",
        "head": ["path", "loss"],
        "rows": [["a", "1"], ["b", ""]],
        "colors": ["#0072B2", ""],
        "chosen": 1,
        "notes": ["n"],
        "folded": True,
    }
    assert told == {"text": "one\ntwo", "title": "Note", "tone": "alert"}


def test_a_study_with_its_sliders_checks_and_prose(read):
    study = lw.Study("Parabola", source="Euclid", claim="It bends", limits="Not far", citation="Elements")
    study.slider("rate", 0.1, low=0.01, high=1.0, log=True, help="How fast")
    study.slider("seed", 0, low=0, high=3, step=1, play=True)
    study.slider("on", True)
    study.slider("kept", 2, low=0, high=9, label="kept as it is")

    @study.view
    def line(rate, seed, kept):
        return Curves([Series(T, rate * T + seed)]) if seed != 1 else None

    @study.view(beside="line")
    def words(rate, on):
        return Words(f"{rate:g} {on}")

    @study.check
    def fine(kept):
        """It is fine"""
        return Check("warn", f"kept {kept}")

    asked = {"rate": 3, "seed": [0, 1, 2], "on": None}
    recording = record(study, positions_of(study.sliders, asked), lambda *told: None)
    found = read(document([recording], "A page"))
    (told,) = found["studies"]
    for part, text in (("claim", "It bends"), ("source", "Euclid"), ("limits", "Not far"), ("citation", "Elements")):
        assert told[part] == text
    rate, seed, on = told["sliders"]
    assert (rate["name"], rate["help"], rate["log"], rate["play"]) == ("rate", "How fast", True, False)
    assert rate["positions"] == [pytest.approx(one) for one in (0.01, 0.1, 1.0)]
    assert (seed["positions"], seed["play"], on["positions"]) == ([0, 1, 2], True, [False, True])
    assert [slider["start"] for slider in told["sliders"]] == [1, 0, 1]
    assert told["fixed"] == [{"label": "kept as it is", "value": "2"}]
    assert [(panel["name"], panel["beside"]) for panel in told["panels"]] == [("line", ""), ("words", "line")]
    assert told["checks"] == [{"name": "It is fine", "state": "warn", "detail": "kept 2"}]
    places = [(r, s, o) for r in (0.01, 0.1, 1.0) for s in (0, 1, 2) for o in (False, True)]
    for (r, s, o), (drawn, said) in zip(places, told["frames"], strict=True):
        assert said["text"] == f"{r:g} {o}"
        assert (drawn is None) is (s == 1)
        if drawn:
            np.testing.assert_allclose(numbers(found, drawn["series"][0]["y"]), r * T + s, atol=1e-4 * r)
    study.close()


@pytest.mark.parametrize("exact", [False, True])
def test_arrays_of_any_size_come_over(read, exact):
    values = [
        np.array([0.0, 2.0, -math.inf, math.nan]),
        1e7 * np.arange(4),
        1000 + 3e-3 * np.arange(4),
        np.full(4, 3.5),
    ]
    found = read(document([recording_of(Curves([Series(range(4), one)])) for one in values], "", exact=exact))
    for study, own in zip(found["studies"], values, strict=True):
        ((shown,),) = study["frames"]
        drawn = np.where(np.isfinite(own), own, np.nan)
        room = 1e-4 * np.ptp(drawn[np.isfinite(drawn)]) + 1e-7 * np.nanmax(np.abs(drawn))  # float32
        np.testing.assert_allclose(numbers(found, shown["series"][0]["y"]), drawn, atol=room)
