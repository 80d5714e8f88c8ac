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


@pytest.fixture
def root(tmp_path):
    """A checkout with sources, a lock file and no bundles."""
    (tmp_path / "js" / "src").mkdir(parents=True)
    (tmp_path / "lwidgets" / "static").mkdir(parents=True)
    for name in ("package.json", "package-lock.json", "src/core.ts"):
        (tmp_path / "js" / name).write_text("{}")
        os.utime(tmp_path / "js" / name, (1000, 1000))
    return tmp_path


def put_npm(tools, build=":"):
    """A stand-in for npm that notes how it was called."""
    (tools / "node").write_text("#!/bin/sh\n")
    (tools / "npm").write_text(
        '#!/bin/sh\necho "$1" >> calls\n'
        'if [ "$1" = ci ]; then /bin/mkdir -p node_modules; : > node_modules/.package-lock.json; fi\n'
        f'if [ "$1" = run ]; then {build}; fi\n'
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)


def put_bundles(root, date):
    for name in hatch_build.BUNDLES:
        (root / "lwidgets" / "static" / name).write_text("export default {}")
        os.utime(root / "lwidgets" / "static" / name, (date, date))


WRITE = f'for b in {" ".join(hatch_build.BUNDLES)}; do echo x > "../lwidgets/static/$b"; done'


def test_missing_bundles_are_built_once(root, tools):
    put_npm(tools, WRITE)
    assert hatch_build.ensure_bundles(root)
    assert not hatch_build.ensure_bundles(root)
    assert (root / "js" / "calls").read_text().split() == ["ci", "run"]


@pytest.mark.parametrize(("changed", "rebuilt"), [("src/core.ts", True), ("test/core.test.ts", False)])
def test_only_a_newer_source_rebuilds(root, tools, changed, rebuilt):
    put_npm(tools, WRITE)
    put_bundles(root, date=2000)
    assert not hatch_build.ensure_bundles(root)
    (root / "js" / changed).parent.mkdir(exist_ok=True)
    (root / "js" / changed).write_text("changed")
    assert hatch_build.ensure_bundles(root) is rebuilt


def test_an_unpacked_sdist_uses_its_bundles_whatever_their_dates(root, tools):
    put_bundles(root, date=1)
    (root / "PKG-INFO").write_text("Name: lwidgets")
    assert not hatch_build.ensure_bundles(root)


def test_stale_bundles_are_used_where_there_is_no_node(root, tools, capsys):
    put_bundles(root, date=1)
    assert not hatch_build.ensure_bundles(root)
    assert "older than js/" in capsys.readouterr().out


def test_refuses_without_bundles_and_node(root, tools):
    with pytest.raises(RuntimeError, match=r"must be on PATH .* got no node and no height.*Install"):
        hatch_build.ensure_bundles(root)


def test_refuses_without_bundles_and_sources(root, tools):
    (root / "js" / "package.json").unlink()
    with pytest.raises(RuntimeError, match=r"must hold .* got no height_field.*Build from a git"):
        hatch_build.ensure_bundles(root)


def test_a_failing_build_shows_what_npm_said(root, tools):
    put_npm(tools, "echo core.ts:1: no such thing; exit 3")
    with pytest.raises(RuntimeError, match=r"(?s)`npm run build` .*exit status 3.*no such thing"):
        hatch_build.ensure_bundles(root)


def test_a_build_that_forgets_a_bundle_is_refused(root, tools):
    put_npm(tools, "echo x > ../lwidgets/static/status.js")
    with pytest.raises(RuntimeError, match=r"got no height_field\.js, checks\.js"):
        hatch_build.ensure_bundles(root)
