"""The generated reference: every command, option and configuration key is there and has a meaning."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import mmnet_maps
from mmnet_maps.cli.main import app
from mmnet_maps.config import Config

DOCS = Path(__file__).resolve().parents[1] / "docs"
#: Records that the program writes: no user configures them.
_RECORDS = {"Variable", "Catalogue"}
#: Its keys are among those of the class that extends it.
_INSIDE = {"TrainConfig"}


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    sys.path.insert(0, str(DOCS))
    try:
        return importlib.import_module("reference_pages")
    finally:
        sys.path.remove(str(DOCS))


def _configs(kind: type[Config] = Config) -> Iterator[type[Config]]:
    for each in kind.__subclasses__():
        if each.__module__.startswith("mmnet_maps."):
            yield each
        yield from _configs(each)


def test_every_configuration_class_is_described_and_every_key_has_a_meaning(pages: ModuleType) -> None:
    for module in pkgutil.walk_packages(mmnet_maps.__path__, "mmnet_maps."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    classes = {kind.__name__: kind for kind in _configs() if kind.__name__ not in _RECORDS | _INSIDE}
    text = pages.PAGES["configuration.md"]()
    assert [name for name in classes if f"### {name}\n" not in text] == []
    without = [
        f"{name}.{key}"
        for name, kind in classes.items()
        for key, meaning in pages.meanings(kind).items()
        if not meaning
    ]
    assert without == []


def test_types_defaults_and_limits_are_those_of_the_classes(pages: ModuleType) -> None:
    lines = pages.PAGES["configuration.md"]().splitlines()
    for row in (
        "| `epochs` | whole number (at least 1) | `100` | Most epochs. |",
        "| `layer` | text |  | Layer of a GeoPackage. |",
        "| `coverage` | number (above 0, below 1) | `0.9` | Nominal coverage of the intervals. |",
    ):
        assert row in lines


def test_every_command_and_option_is_there(pages: ModuleType) -> None:
    text = pages.PAGES["commands.md"]()
    sections = {part.partition("\n")[0].strip("# "): part for part in text.split("\n#")}

    def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
        for name, inner in command.commands.items():
            if hasattr(inner, "commands"):
                yield from leaves(inner, f"{path} {name}")
            else:
                yield f"{path} {name}", inner

    for path, command in leaves(typer.main.get_command(app), "mmnet-maps"):
        for parameter in command.params:
            option = parameter.opts[0].startswith("-")
            expected = f"| `{parameter.opts[0]}" if option else f"| {parameter.help} [required] |"
            assert expected in sections[path], (path, parameter.name)


def test_a_bar_in_a_cell_does_not_end_it(pages: ModuleType) -> None:
    assert pages.table(["a"], [["x|y"]]).splitlines()[-1] == r"| x\|y |"
