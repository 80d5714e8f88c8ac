"""Builds the JavaScript: as a hatchling build hook, or by ``python hatch_build.py``.

From a git checkout the bundles of the widgets and the JupyterLab extension are made by npm when they are missing or
older than their sources. An sdist carries them, so installing from PyPI, or building a wheel from the sdist, needs no
node.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLES = ("picture.js", "status.js", "checks.js", "companion.js", "page.js", "unpack.js")
EXTENSION = ("lwidgets/labextension/package.json", "lwidgets/labextension/static/third-party-licenses.json")
SHOWN = ("core", "pictures", "parts", "document")
"""Folders of js/src that draw what has no kernel; hosts are for what has one, and for pages."""
NOT_SOURCES = {"node_modules", "dist", "lib", "labextension", "test", "tests", "coverage"}


class Project(NamedTuple):
    """An npm project, by paths from the root of the checkout.

    Attributes:
        folder: Of its package.json.
        sources: Folders with what it is made from.
        makes: Files that are there once it is built.
    """

    folder: str
    sources: tuple[str, ...]
    makes: tuple[str, ...]


PROJECTS = (
    Project("js", ("js",), tuple(f"lwidgets/static/{name}" for name in BUNDLES)),
    Project("js/labextension", ("js/labextension", *(f"js/src/{name}" for name in SHOWN)), EXTENSION),
)


class JavaScriptHook(BuildHookInterface):
    """Makes sure that the JavaScript is complete before hatchling collects the files."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is missing or stale; it is then picked up as artifacts and shared data."""
        ensure_bundles(Path(self.root))


def ensure_bundles(root: Path) -> bool:
    """Bring the bundles and the JupyterLab extension under ``root`` up to date.

    Args:
        root: The folder of pyproject.toml.

    Returns:
        True when npm was run, False when there was nothing to do.

    Raises:
        RuntimeError: Something is missing and cannot be built, or the build failed.
    """
    built = [ensure(root, project) for project in PROJECTS]
    return any(built)


def ensure(root: Path, project: Project) -> bool:
    """Bring what one project makes up to date; as `ensure_bundles`."""
    folder, makes = root / project.folder, ", ".join(project.makes)

    def missing() -> str:
        return ", ".join(name for name in project.makes if not (root / name).exists())

    absent = missing()
    if not absent and not is_stale(root, project):
        return False
    if not (folder / "package.json").exists():
        raise RuntimeError(
            f"hatch_build: the sources must hold {makes} where there is no {project.folder}/, got no {absent}. "
            "Build from a git checkout or from a complete sdist."
        )
    if shutil.which("npm") is None or shutil.which("node") is None:
        if not absent:
            print(f"hatch_build: no node, and {makes} is older than {project.folder}/: using it as it is.")
            return False
        raise RuntimeError(
            f"hatch_build: node (>= 20) and npm must be on PATH to build from {project.folder}/, "
            f"got no node and no {absent}. Install Node.js, or install lwidgets from a wheel."
        )
    if needs_install(folder):
        npm(folder, "ci")
    npm(folder, "run", "build")
    if absent := missing():
        raise RuntimeError(
            f"hatch_build: `npm run build` in {project.folder}/ must write {makes}, got no {absent}. "
            "Look at its entry points."
        )
    for name in project.makes:
        os.utime(root / name)  # a build that leaves an unchanged file alone must not look stale for ever
    return True


def is_stale(root: Path, project: Project) -> bool:
    """Say whether a source is newer than the oldest thing made from it.

    An unpacked sdist (it has PKG-INFO) carries what was made from its own sources, whatever their dates.
    """
    if (root / "PKG-INFO").exists():
        return False
    oldest = min((root / name).stat().st_mtime for name in project.makes)
    files = [path for folder in project.sources for path in sources(root / folder)]
    return any(path.stat().st_mtime > oldest for path in files)


def sources(folder: Path) -> list[Path]:
    """List the files below a folder that can change what is made from it."""
    found = []
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in NOT_SOURCES and not name.startswith(".")]
        found += [Path(where) / name for name in files if ".test." not in name]
    return found


def needs_install(folder: Path) -> bool:
    """Say whether node_modules is missing or older than the lock file."""
    installed, lock = folder / "node_modules" / ".package-lock.json", folder / "package-lock.json"
    return not installed.exists() or (lock.exists() and installed.stat().st_mtime < lock.stat().st_mtime)


def npm(folder: Path, *arguments: str) -> None:
    """Run npm in a folder, showing what it prints only when it fails."""
    print(f"hatch_build: npm {' '.join(arguments)} in {folder.name}/", flush=True)
    done = subprocess.run(
        ["npm", *arguments, "--no-audit", "--no-fund"] if arguments[0] == "ci" else ["npm", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(
            f"hatch_build: `npm {' '.join(arguments)}` must succeed, got exit status {done.returncode}. "
            f"See the last lines of what it printed:\n{done.stdout[-4000:]}"
        )


def refresh_install(root: Path, prefix: Path) -> None:
    """Give an editable install the extension as it is now: pip copied the one of that day."""
    made = root / "lwidgets" / "labextension"
    installed = prefix / "share" / "jupyter" / "labextensions" / "lwidgets"
    names = [folder / "package.json" for folder in (made, installed)]
    if installed.exists() and len({path.read_bytes() for path in names}) == 2:  # it names the file to load by its hash
        shutil.rmtree(installed)
        shutil.copytree(made, installed)
        shutil.copy(root / "js" / "labextension" / "install.json", installed)


if __name__ == "__main__":
    try:
        here = Path(__file__).resolve().parent
        ensure_bundles(here)
        refresh_install(here, Path(sys.prefix))
    except RuntimeError as error:
        sys.exit(str(error))
