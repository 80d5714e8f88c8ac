"""README.md and docs/: their code runs and does what it says, links lead somewhere, tables are those of the code."""

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import lwidgets as lw

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import module_table  # noqa: E402

sys.path.pop(0)

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python(.*?)\n(.*?)^```", re.S | re.M)


def blocks(page):
    """Name -> code of the blocks of a page, in order."""
    found = [(name.strip(), code) for name, code in BLOCK.findall(page.read_text("utf-8"))]
    names = [name for name, _ in found]
    assert all(names), f"{page.name}: every block of Python needs a name behind ```python"
    assert len(set(names)) == len(names), f"{page.name}: two blocks of one name"
    return dict(found)


def run(page, name, given, folder, monkeypatch, **changes):
    """What is defined after a block has run among these names, in a folder of its own."""
    monkeypatch.chdir(folder)
    code = blocks(ROOT / page)[name]
    for old, new in changes.items():
        assert old in code
        code = code.replace(old, new)
    exec(compile(code, f"{page}:{name}", "exec"), given)
    RUN.add((page, name))
    return given


RUN = set()
"""(page, name) of the blocks that were run; every test that does so is named below."""


@pytest.fixture(scope="module")
def small():
    """A small objective, and two networks."""
    return dict(zip(("objective", "a", "b"), lw.demo.digits(hidden=(8,), steps=20), strict=True))


def linear():
    return {"model": nn.Linear(4, 3), "X": torch.randn(20, 4), "y": torch.randint(0, 3, (20,))}


def test_the_first_lines(tmp_path, monkeypatch):
    code = blocks(ROOT / "README.md")["first-lines"]
    assert len([line for line in code.splitlines() if line.strip()]) <= 8
    names = run("README.md", "first-lines", linear(), tmp_path, monkeypatch)
    assert names["mine"].measure(names["model"]).keys() == {"loss", "error"}
    assert "<svg" in tmp_path.joinpath("loss.svg").read_text()


def test_an_objective(tmp_path, monkeypatch):
    names = run("docs/guide/inputs.md", "an-objective", {"lw": lw}, tmp_path, monkeypatch)
    X, model = names["X"], names["model"]
    with torch.no_grad():
        expected = (model(X).square().mean() + model(2 * X).square().mean()) / 2
    assert names["squared"].measure(model)["loss"] == pytest.approx(expected.item(), rel=1e-6)
    assert lw.sample(names["bowl"], lw.Subspace.identity(2), resolution=5).at((0.5, 0.5))["loss"] == pytest.approx(0.5)


def test_what_was_measured_is_remembered_shared_and_judged_by_the_worst(tmp_path, monkeypatch):
    names = linear()
    objective = lw.Objective(
        names["model"],
        (names["X"], names["y"]),
        loss=nn.functional.cross_entropy,
        metrics={"error": lw.metrics.error},
    )
    given = {"lw": lw, "objective": objective, "plane": lw.Plane.random(names["model"])}
    run("docs/guide/speed.md", "cache-executor-metrics", given, tmp_path, monkeypatch)
    assert any(tmp_path.joinpath("measured").rglob("*.values"))


def test_pages_and_stills_are_written(tmp_path, monkeypatch, small):
    names = {"lw": lw, **small}
    names["landscape"] = lw.sample(small["objective"], lw.Line(small["a"], small["b"]), resolution=17)
    # A third of the positions and a coarser grid: what is written is the same, and how many positions is tested there.
    fewer = {
        "range(20)": "range(3)",
        "range(5)": "range(2)",
        "resolution=33": "resolution=17",
        '"alpha": 21': '"alpha": 5',
    }
    run("docs/guide/pages.md", "pages-and-stills", names, tmp_path, monkeypatch, **fewer)
    assert {path.name for path in tmp_path.iterdir()} == {"loss.html", "companion.html", "loss.png"}
    for name in ("explorer", "curve"):
        names[name].close()


def test_two_networks_are_aligned_and_connected(tmp_path, monkeypatch, small):
    names = {"lw": lw, **small, "images": lw.demo.digits_data()[0]}
    run("docs/guide/connectivity.md", "align-and-connect", names, tmp_path, monkeypatch)
    assert names["aligned"].certificate.error <= 1e-10
    assert names["path"].vertices[-1].parameters["0.weight"].equal(names["aligned"].state.parameters["0.weight"])
    names["explorer"].close()


def test_models_are_merged(tmp_path, monkeypatch):
    kept = {"\nlw.Merging": "\nexplorer = lw.Merging"}
    explorer = run("docs/guide/merging.md", "merge", {"lw": lw}, tmp_path, monkeypatch, **kept)["explorer"]
    assert explorer.wait(120)
    ties, given = (explorer.compared[name].scores for name in ("ties", "digits 0 to 4"))
    assert all(scores["error"] < 0.1 for scores in ties.values())
    assert given["digits 5 to 9"]["error"] > 0.9
    explorer.close()


@pytest.fixture
def study(tmp_path, monkeypatch):
    names = run("docs/guide/study.md", "a-study", {"lw": lw}, tmp_path, monkeypatch)
    yield names["study"]
    names["study"].close()


def test_the_study_verifies_and_writes_itself_without_a_notebook(study, tmp_path, monkeypatch):
    run("docs/guide/study.md", "without-a-notebook", {"study": study}, tmp_path, monkeypatch)
    report = study.verify(60)
    assert report.checks["The trained model is the lowest point of the curve"].state == "pass"
    assert report.checks["At the centre stands the network's own loss"].state == "pass"
    page = tmp_path.joinpath("steps.html").read_text("utf-8")
    assert "Around a trained network the loss is lowest" in page


def test_the_study_shows_itself_and_follows_its_sliders(study):
    widget = study.show()
    assert widget.wait(60)
    marks = widget.panels.places["loss"].view.figure.marks
    first = marks[0].y.copy()
    widget.seed = 5
    assert widget.wait(60)
    assert (marks[0].y != first).any()
    assert widget.controls["seed"].value == 5
    widget.close()


def test_every_block_is_run_by_a_test_of_this_file():
    own = Path(__file__).read_text("utf-8")
    named = [(page.relative_to(ROOT).as_posix(), name) for page in PAGES for name in blocks(page)]
    assert len(named) >= 7
    assert [(page, name) for page, name in named if f'run("{page}", "{name}"' not in own] == []


def test_the_readme_is_short():
    lines = ROOT.joinpath("README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_file_names_lead_somewhere(page):
    text = page.read_text("utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []
    # `benchmarks/table.py`, `tests/test_zoo.py`, `lwidgets/cli.py`: files as they are named from the root
    named = re.findall(r"`(?:python )?((?:lwidgets|tests|benchmarks|tools|docs|notebooks)/[\w/.-]+\.\w+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_no_page_is_an_orphan():
    links = {
        (page.parent / link.split("#")[0]).resolve()
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    }
    assert [page.name for page in PAGES if page.name != "README.md" and page.resolve() not in links] == []


def test_the_table_of_modules_is_that_of_their_docstrings():
    page = ROOT / "docs/architecture.md"
    text = page.read_text("utf-8")
    assert module_table.replaced(text) == text, "python tools/module_table.py writes it anew"


def test_a_module_is_told_by_its_first_sentence_its_test_and_its_source(tmp_path):
    package, tests = tmp_path / "lwidgets", tmp_path / "tests"
    (package / "room").mkdir(parents=True)
    (tests / "room").mkdir(parents=True)
    (package / "__init__.py").write_text('"""All of it."""')
    (package / "room/sofa.py").write_text(
        """'''Where one sits, e.g. in
the evening. More.

Source: Author, Friend, "Sitting", 2001, section 2; Other et al., "Lying", 2002. And more.
'''"""
    )
    (package / "room/bare.py").write_text("")
    (tests / "room/test_sofa.py").write_text("")
    table = module_table.table(tmp_path)
    row = "| Where one sits, e.g. in the evening | `sofa.py` | `test_sofa.py` | Author et al. 2001; Other et al. 2002 |"
    assert row in table
    with pytest.raises(SystemExit, match=r"room/bare\.py must open with a docstring"):
        module_table.table(tmp_path, ("room/bare.py",))


def test_nothing_public_is_missing():
    for name in lw.__all__:
        assert getattr(lw, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Landscapes'"):
        lw.Landscapes  # noqa: B018
