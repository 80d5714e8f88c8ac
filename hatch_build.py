"""Builds the JavaScript bundles of the widgets: as a hatchling build hook, or by ``python hatch_build.py``.

From a git checkout the bundles are made by npm when they are missing or older than their sources. An sdist
carries finished bundles, so installing from PyPI, or building a wheel from the sdist, needs no node.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLES = ("height_field.js", "status.js", "checks.js")
NOT_SOURCES = {"node_modules", "dist", "test", "tests", "coverage"}


class JavaScriptHook(BuildHookInterface):
    """Makes sure that ``lwidgets/static`` is complete before hatchling collects the files."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is missing or stale; the bundles are then picked up as artifacts."""
        ensure_bundles(Path(self.root))


def ensure_bundles(root: Path) -> bool:
    """Bring the bundles under ``root`` up to date.

    Args:
        root: The folder of pyproject.toml.

    Returns:
        True when npm was run, False when there was nothing to do.

    Raises:
        RuntimeError: Bundles are missing and cannot be built, or the build failed.
    """
    bundles = [root / "lwidgets" / "static" / name for name in BUNDLES]
    missing = [path.name for path in bundles if not path.exists()]
    if not missing and not is_stale(root, bundles):
        return False
    if not (root / "js" / "package.json").exists():
        raise RuntimeError(
            f"hatch_build: lwidgets/static must hold {', '.join(BUNDLES)} where there are no js/ sources, "
            f"got no {', '.join(missing)}. Build from a git checkout or from a complete sdist."
        )
    if shutil.which("npm") is None or shutil.which("node") is None:
        if not missing:
            print("hatch_build: no node, and the bundles are older than js/: using them as they are.")
            return False
        raise RuntimeError(
            "hatch_build: node (>= 20) and npm must be on PATH to build the bundles from js/, "
            f"got no node and no {', '.join(missing)}. Install Node.js, or install lwidgets from a wheel."
        )
    if needs_install(root / "js"):
        npm(root / "js", "ci")
    npm(root / "js", "run", "build")
    still_missing = [path.name for path in bundles if not path.exists()]
    if still_missing:
        raise RuntimeError(
            f"hatch_build: `npm run build` must write {', '.join(BUNDLES)} to lwidgets/static, "
            f"got no {', '.join(still_missing)}. Look at the entry points in js/."
        )
    for path in bundles:
        os.utime(path)  # a build that leaves an unchanged file alone must not look stale for ever
    return True


def is_stale(root: Path, bundles: list[Path]) -> bool:
    """Say whether a source under js/ is newer than the oldest bundle.

    An unpacked sdist (it has PKG-INFO) carries bundles made from its own sources, whatever their dates.
    """
    if (root / "PKG-INFO").exists():
        return False
    oldest = min(path.stat().st_mtime for path in bundles)
    return any(path.stat().st_mtime > oldest for path in sources(root / "js"))


def sources(folder: Path) -> list[Path]:
    """List the files below js/ that can change a bundle."""
    found = []
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in NOT_SOURCES and not name.startswith(".")]
        found += [Path(where) / name for name in files if ".test." not in name]
    return found


def needs_install(js: Path) -> bool:
    """Say whether node_modules is missing or older than the lock file."""
    installed, lock = js / "node_modules" / ".package-lock.json", js / "package-lock.json"
    return not installed.exists() or (lock.exists() and installed.stat().st_mtime < lock.stat().st_mtime)


def npm(js: Path, *arguments: str) -> None:
    """Run npm in js/, showing what it prints only when it fails."""
    print(f"hatch_build: npm {' '.join(arguments)}", flush=True)
    done = subprocess.run(
        ["npm", *arguments, "--no-audit", "--no-fund"] if arguments[0] == "ci" else ["npm", *arguments],
        cwd=js,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(
            f"hatch_build: `npm {' '.join(arguments)}` must succeed, got exit status {done.returncode}. "
            f"See the last lines of what it printed:\n{done.stdout[-4000:]}"
        )


if __name__ == "__main__":
    try:
        ensure_bundles(Path(__file__).resolve().parent)
    except RuntimeError as error:
        sys.exit(str(error))
