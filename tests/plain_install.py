"""A Python without the extras: what is not in the core's dependencies cannot be imported in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: Runs at the start of every Python that finds it on its path, worker processes too.
_SITE = """
import sys
from importlib.machinery import PathFinder

REFUSED = set({refused!r})

class Core(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if path is None and name.partition(".")[0] in REFUSED:
            return None
        return PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Core
"""


def dependencies(extra: str | None = None) -> set[str]:
    """Names of the packages that pyproject.toml asks for, of the core or of an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return {_plain(text) for text in asked}


@cache
def extra_modules() -> frozenset[str]:
    """Top-level modules that are installed here and that a plain install would not bring."""
    core = _closure(dependencies())
    return frozenset(
        module
        for module, packages in metadata.packages_distributions().items()
        if not any(_plain(name) in core for name in packages) and module != "mmnet_maps"
    )


def _closure(names: set[str]) -> set[str]:
    """The packages and all that they ask for, themselves without extras but those that are named."""
    waiting, found = [(name, frozenset[str]()) for name in names], set[str]()
    waiting += [("dask", frozenset({"array", "distributed"}))]
    while waiting:
        name, extras = waiting.pop()
        found.add(name)
        for text in _requires(name):
            marker = re.search(r"extra\s*==\s*['\"]([\w.-]+)['\"]", text)
            wanted = marker is None or marker.group(1) in extras
            if wanted and _plain(text) not in found and _applies(text):
                waiting.append((_plain(text), frozenset(_extras(text))))
    return found


def _requires(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def _applies(text: str) -> bool:
    from packaging.requirements import Requirement

    marker = Requirement(text).marker
    return marker is None or "extra" in str(marker) or marker.evaluate()


def _extras(text: str) -> list[str]:
    found = re.match(r"[\w.-]+\[([^\]]*)\]", text)
    return [] if found is None else [part.strip() for part in found.group(1).split(",")]


def _plain(text: str) -> str:
    return re.split(r"[\s\[<>=!~;(]", text, maxsplit=1)[0].lower().replace("_", "-")


def run_plain(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code as if the package had been installed without extras; `folder` takes the hook."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(_SITE.format(refused=sorted(extra_modules())))
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
