"""The build hook: when it runs npm, and what it says when it cannot. npm is a stub here."""

import importlib.util
import os
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("hatch_build", Path(__file__).parents[2] / "hatch_build.py")
hatch_build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hatch_build)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A PATH with nothing on it but what a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


SOURCES = (
    *(
        "js/package.json",
        "js/src/core/dom.ts",
        "js/src/pictures/curves.ts",
        "js/src/document/read.ts",
        "js/src/hosts/status.ts",
    ),
    *("js/labextension/package.json", "js/labextension/src/index.ts"),
)


@pytest.fixture
def root(tmp_path):
    """A checkout with sources, lock files and nothing built."""
    (tmp_path / "lwidgets" / "static").mkdir(parents=True)
    (tmp_path / "lwidgets" / "labextension" / "static").mkdir(parents=True)
    for name in (*SOURCES, "js/package-lock.json", "js/labextension/package-lock.json", "js/labextension/install.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
        os.utime(tmp_path / name, (1000, 1000))
    return tmp_path


def put_npm(tools, build=":"):
    """A stand-in for npm that notes how it was called."""
    (tools / "node").write_text("#!/bin/sh\n")
    (tools / "npm").write_text(
        '#!/bin/sh\necho "$1" >> calls\nhere=${PWD##*/}\n'
        'if [ "$1" = ci ]; then /bin/mkdir -p node_modules; : > node_modules/.package-lock.json; fi\n'
        f'if [ "$1" = run ]; then {build}; fi\n'
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)


def put_bundles(root, date, of=hatch_build.PROJECTS):
    for name in (name for project in of for name in project.makes):
        (root / name).write_text("export default {}")
        os.utime(root / name, (date, date))


BUNDLES, EXTENSION = hatch_build.PROJECTS
WRITE = (
    f'if [ $here = js ]; then for b in {" ".join(BUNDLES.makes)}; do echo x > "../$b"; done; '
    f'else for b in {" ".join(EXTENSION.makes)}; do echo x > "../../$b"; done; fi'
)


def test_missing_bundles_are_built_once(root, tools):
    put_npm(tools, WRITE)
    assert hatch_build.ensure_bundles(root)
    assert not hatch_build.ensure_bundles(root)
    for project in hatch_build.PROJECTS:
        assert (root / project.folder / "calls").read_text().split() == ["ci", "run"]


@pytest.mark.parametrize(
    ("changed", "rebuilt"),
    [
        ("js/src/core/dom.ts", ["js", "js/labextension"]),
        ("js/src/pictures/curves.ts", ["js", "js/labextension"]),
        ("js/src/document/read.ts", ["js", "js/labextension"]),
        ("js/src/hosts/status.ts", ["js"]),
        ("js/labextension/src/index.ts", ["js/labextension"]),
        ("js/test/core.test.ts", []),
        ("js/labextension/lib/index.js", []),
    ],
)
def test_only_what_has_a_newer_source_is_rebuilt(root, tools, changed, rebuilt):
    put_npm(tools, WRITE)
    put_bundles(root, date=2000)
    assert not hatch_build.ensure_bundles(root)
    (root / changed).parent.mkdir(exist_ok=True)
    (root / changed).write_text("changed")
    assert hatch_build.ensure_bundles(root) is bool(rebuilt)
    assert [p.folder for p in hatch_build.PROJECTS if (root / p.folder / "calls").exists()] == rebuilt
    assert not hatch_build.ensure_bundles(root)


def test_an_editable_install_gets_the_extension_of_the_last_build(root, tmp_path):
    made, prefix = root / "lwidgets" / "labextension", tmp_path / "venv"
    installed = prefix / "share" / "jupyter" / "labextensions" / "lwidgets"
    (made / "package.json").write_text("1")
    hatch_build.refresh_install(root, prefix)
    assert not installed.exists()  # not installed: nothing to refresh
    installed.mkdir(parents=True)
    (installed / "package.json").write_text("0")
    (installed / "old.js").touch()
    hatch_build.refresh_install(root, prefix)
    found = {path.name: path.read_text() for path in installed.rglob("*.*")}
    assert found == {"package.json": "1", "install.json": "{}"}


def test_an_unpacked_sdist_uses_its_bundles_whatever_their_dates(root, tools):
    put_bundles(root, date=1)
    (root / "PKG-INFO").write_text("Name: lwidgets")
    assert not hatch_build.ensure_bundles(root)


def test_stale_bundles_are_used_where_there_is_no_node(root, tools, capsys):
    put_bundles(root, date=1)
    assert not hatch_build.ensure_bundles(root)
    assert "older than js/" in capsys.readouterr().out


def test_refuses_without_bundles_and_node(root, tools):
    with pytest.raises(RuntimeError, match=r"must be on PATH .* got no node and no lwidgets/static/picture.*Install"):
        hatch_build.ensure_bundles(root)


def test_refuses_without_bundles_and_sources(root, tools):
    (root / "js" / "package.json").unlink()
    with pytest.raises(RuntimeError, match=r"must hold .* got no lwidgets/static/picture.*Build from a git"):
        hatch_build.ensure_bundles(root)


def test_a_failing_build_shows_what_npm_said(root, tools):
    put_npm(tools, "echo core.ts:1: no such thing; exit 3")
    with pytest.raises(RuntimeError, match=r"(?s)`npm run build` .*exit status 3.*no such thing"):
        hatch_build.ensure_bundles(root)


def test_a_build_that_forgets_a_bundle_is_refused(root, tools):
    put_npm(tools, "echo x > ../lwidgets/static/status.js")
    with pytest.raises(RuntimeError, match=r"got no lwidgets/static/picture\.js, lwidgets/static/checks\.js"):
        hatch_build.ensure_bundles(root)
