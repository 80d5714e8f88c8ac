"""The README's code does what it says."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import lwidgets as lw

BLOCKS = re.findall(r"```python\n(.*?)```", Path(__file__).parent.parent.joinpath("README.md").read_text("utf-8"), re.S)


def test_the_first_lines_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = {"model": nn.Linear(4, 3), "X": torch.randn(20, 4), "y": torch.randint(0, 3, (20,))}
    exec(BLOCKS[0], names)
    assert names["landscape"].shape == (65, 65)
    assert "<svg" in tmp_path.joinpath("loss.svg").read_text()


def test_what_was_measured_is_remembered_shared_and_judged_by_the_worst(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, data = nn.Linear(4, 3), (torch.randn(20, 4), torch.randint(0, 3, (20,)))
    objective = lw.Objective(model, data, loss=nn.functional.cross_entropy, metrics={"error": lw.metrics.error})
    names = {"lw": lw, "objective": objective, "plane": lw.Plane.random(model)}
    exec(BLOCKS[1], names)
    assert any(tmp_path.joinpath("measured").rglob("*.values"))


def test_pages_and_stills_are_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    objective, a, b = lw.demo.digits(steps=20)
    names = {"lw": lw, "objective": objective, "a": a, "b": b}
    names["landscape"] = lw.sample(objective, lw.Line(a, b), resolution=17)
    exec(BLOCKS[2], names)
    assert {path.name for path in tmp_path.iterdir()} == {"loss.html", "companion.html", "loss.png"}
    for name in ("explorer", "curve"):
        names[name].close()


def test_two_networks_are_aligned_and_connected():
    objective, a, b = lw.demo.digits(hidden=(8,), steps=20)
    names = {"lw": lw, "objective": objective, "a": a, "b": b, "images": lw.demo.digits_data()[0]}
    exec(BLOCKS[3], names)
    assert names["aligned"].certificate.error <= 1e-10
    assert names["path"].vertices[-1].parameters["0.weight"].equal(names["aligned"].state.parameters["0.weight"])
    names["explorer"].close()


def test_models_are_merged():
    names = {"lw": lw}
    exec(BLOCKS[4].removesuffix("\n").replace("\nlw.Merging", "\nexplorer = lw.Merging"), names)
    explorer = names["explorer"]
    assert explorer.wait(120)
    ties, given = (explorer.compared[name].scores for name in ("ties", "digits 0 to 4"))
    assert all(scores["error"] < 0.1 for scores in ties.values())
    assert given["digits 5 to 9"]["error"] > 0.9
    explorer.close()


@pytest.fixture
def study():
    names = {"lw": lw}
    exec(BLOCKS[5], names)
    yield names["study"], names["plot"]
    names["study"].close()


def test_the_study_verifies_headless_and_its_check_can_fail(study):
    graph, plot = study
    report = graph.verify(60)
    assert report.checks["The trained model is the lowest point of the curve"].state == "pass"
    assert plot.figure.marks == []  # nothing was painted


def test_the_study_shows_itself_and_follows_its_sliders(study):
    graph, plot = study
    widget = graph.show()
    assert widget.wait(60)
    first = plot.figure.marks[0].y.copy()
    widget.seed = 5
    assert widget.wait(60)
    assert (plot.figure.marks[0].y != first).any()
    assert widget.controls["seed"].value == 5
    assert plot in widget.children
    widget.close()


def test_nothing_public_is_missing():
    for name in lw.__all__:
        assert getattr(lw, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Landscapes'"):
        lw.Landscapes  # noqa: B018
