"""The ready-made studies run, are verified and are written where there is no widget library at all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys

WIDGETS = ("ipywidgets", "bqplot", "anywidget", "traitlets", "IPython")

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in WIDGETS:
            raise ImportError(f"no {name} here")

sys.meta_path.insert(0, Refuse())

import lwidgets as lw
from lwidgets.studies.connectivity import connectivity
from lwidgets.studies.curve import curve
from lwidgets.studies.layers import layers
from lwidgets.studies.merging import merging
from lwidgets.studies.surface import surface

bowl = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2)
landscape = lw.sample(bowl, lw.Subspace.identity(2), resolution=9)
pictures = [lw.Surface(landscape), lw.Curves([lw.Series([0, 1], [0, 1])]), lw.Table(("a",), [("b",)]), lw.Words("c")]
assert all(picture.still() is not None for picture in pictures)
assert list(landscape._repr_mimebundle_()) == ["text/plain"]
for name, write in (("html", landscape.to_html), ("png", landscape.to_png), ("svg", landscape.to_svg)):
    assert write(f"{sys.argv[1]}/landscape.{name}").stat().st_size > 1000
objective, a, b = lw.demo.digits(hidden=(8,), steps=20)
base, models, tasks = lw.demo.digits_tasks(hidden=(8,), steps=20)
studies = {
    "surface": (surface(objective), {"resolution": 9, "envelope": 2}),
    "curve": (curve(objective, a, b), {"resolution": 9}),
    "layers": (layers(objective, a, b), {}),
    "connectivity": (connectivity(objective, a, b), {"alignment": "weights", "by_layer": True, "resolution": 9}),
    "merging": (merging(base, models, tasks), {"resolution": 9, "compare": False}),
}
for name, (study, sliders) in studies.items():
    study.set(**sliders)
    report = study.verify(300)
    page = study.to_html(f"{sys.argv[1]}/{name}.html", {"log_height": None})
    print(json.dumps({
        "name": name,
        "fine": bool(report),
        "checks": len(report.checks),
        "report": str(report),
        "pictures": [panel for panel, picture in study.pictures.items() if picture is not None],
        "title": study.title,
        "page": str(page),
        "widgets": [one for one in WIDGETS if one in sys.modules],
    }))
    study.close()
"""

SHOWN = {
    "surface": ["surface_picture", "envelope_picture"],
    "curve": ["curves_picture", "reading"],
    "layers": ["mixture_picture", "mixture_reading"],
    "connectivity": [
        "curves_picture",
        "plane_picture",
        "barriers_table",
        "symmetries_table",
        "mixture_picture",
        "mixture_reading",
    ],
    "merging": ["curves_picture", "plane_picture", "methods_table"],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return {told["name"]: told for told in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("study", SHOWN)
def test_a_study_is_verified_and_written_without_a_widget_library(written, study):
    told = written[study]
    assert told["widgets"] == []
    assert told["fine"], told["report"]
    assert told["checks"] >= 8
    assert told["pictures"] == SHOWN[study]
    page = Path(told["page"]).read_text(encoding="utf-8")
    assert told["title"] in page
    assert "log height" in page
