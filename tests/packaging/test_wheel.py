"""What a user gets: the wheel, in an environment that has nothing of ours and on a machine without node."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUNDLES = {f"lwidgets/static/{name}.js" for name in ("picture", "status", "checks", "companion", "page", "unpack")}
EXTENSION = ".data/data/share/jupyter/labextensions/lwidgets"
WIDGET_LIBRARIES = {"ipywidgets", "bqplot", "anywidget", "IPython"}

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(1200)]


@pytest.fixture(scope="session")
def without_node(tmp_path_factory):
    """The environment of this process, less every folder of PATH that has node or npm."""
    folders = os.environ["PATH"].split(os.pathsep)
    hidden = [name for name in folders if any((Path(name) / tool).exists() for tool in ("node", "npm"))]
    # Such a folder (/usr/bin, often) has much else that is needed: link to all of it but node.
    links = tmp_path_factory.mktemp("bin")
    for folder in map(Path, hidden):
        for tool in folder.iterdir():
            wanted = tool.is_file() and tool.name not in {"node", "nodejs", "npm", "npx"}
            if wanted and not (links / tool.name).exists():
                (links / tool.name).symlink_to(tool)
    path = os.pathsep.join([*(name for name in folders if name not in hidden), str(links)])
    assert shutil.which("node", path=path) is None
    assert shutil.which("npm", path=path) is None
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return environment | {"PATH": path}


def run(*command, env=None, cwd=None):
    done = subprocess.run([*map(str, command)], env=env, cwd=cwd, text=True, capture_output=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def build(kind, source, into, env=None):
    run(sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", into, source, env=env)
    (made,) = into.iterdir()
    return made


@pytest.fixture(scope="session")
def sdist(tmp_path_factory):
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def python(wheel, without_node, tmp_path_factory):
    """The interpreter of an empty environment with torch, and then the wheel, installed."""
    folder = tmp_path_factory.mktemp("user") / "venv"
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    install = (python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt")
    for requirement in ("torch", wheel):
        run(*install, requirement, env=without_node)
    yield python
    shutil.rmtree(folder)  # about a gigabyte


def test_the_wheel_has_bundles_types_and_licence_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names >= BUNDLES | {"lwidgets/__init__.py", "lwidgets/py.typed"}
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)
    outside = {name for name in names if not name.startswith("lwidgets/") and ".dist-info/" not in name}
    assert {name for name in outside if EXTENSION not in name} == set()
    assert not [name for name in names if "/test" in name or name.endswith((".ts", ".pyc", ".map"))]
    assert not [name for name in names if name.startswith("lwidgets/labextension")]  # not twice


def test_the_wheel_has_the_extension_where_jupyter_looks(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (where,) = [name for name in archive.namelist() if name.endswith(f"{EXTENSION}/package.json")]
        described = json.loads(archive.read(where))
        folder = where.removesuffix("package.json")
        assert folder + described["jupyterlab"]["_build"]["load"] in archive.namelist()
        assert json.loads(archive.read(folder + "install.json"))["packageName"] == "lwidgets"
    version = wheel.name.split("-")[1]
    assert (described["name"], described["version"]) == ("lwidgets", version)


def test_the_wheel_of_the_sdist_is_the_same_and_needs_no_node(sdist, wheel, without_node, tmp_path):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        archive.extractall(tmp_path / "source", filter="data")
    assert names >= BUNDLES | {"js/package.json", "js/package-lock.json", "LICENSE", "constraints.txt"}
    assert not [name for name in names if "node_modules" in name]
    (source,) = (tmp_path / "source").iterdir()
    for old in (source / "js").rglob("*"):
        os.utime(old)  # as after an unpacking that keeps no dates: the sources look newer than the bundles
    again = build("wheel", source, tmp_path / "wheel", env=without_node)
    assert contents(again) == contents(wheel)


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = [name for name in archive.namelist() if name.startswith("lwidgets/") or EXTENSION in name]
        return {name: archive.read(name) for name in inside}


def test_importing_lwidgets_imports_no_widget_library(python, without_node, tmp_path):
    code = f"import sys, lwidgets; print(sorted({WIDGET_LIBRARIES!r} & set(sys.modules)))"
    assert run(python, "-c", code, env=without_node, cwd=tmp_path).strip() == "[]"


def test_a_user_holds_a_loss_landscape_in_an_empty_environment(python, without_node, tmp_path):
    code = """
import lwidgets as lw
objective, a, b = lw.demo.digits()
for explorer in (lw.CurveExplorer(objective, a, b), lw.SurfaceExplorer(objective)):
    explorer.wait(60)
    assert explorer.landscape is not None
    explorer.close()
print(lw.__version__)
"""
    version = run(python, "-c", code, env=without_node, cwd=tmp_path).strip()
    assert f"Version: {version}\n" in run(python, "-m", "pip", "show", "lwidgets", cwd=tmp_path)
