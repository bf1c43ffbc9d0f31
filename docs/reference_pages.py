"""The pages of the reference that are made from the code: commands, configuration, variables, and tables.

``conf.py`` writes `PAGES` to ``docs/generated`` before the documentation is built. An option's help, the
numpydoc attributes of a configuration class, and the tables of variables, layers and flags are the only
sources of these texts.
"""

from __future__ import annotations

import datetime as dt
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
import yaml
from numpydoc.docscrape import ClassDoc
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import mmnet_maps as mm
from mmnet_maps.catalogue import FEATURE_INPUTS, SOIL_STATE_INPUTS, Catalogue, published_catalogue
from mmnet_maps.cli.main import app
from mmnet_maps.config import Config
from mmnet_maps.jobs.daily import DailyConfig
from mmnet_maps.jobs.earth_engine_config import EarthEngineCubeConfig
from mmnet_maps.learn.experiments import ExperimentConfig
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.prepare.stations.settings import OwnWeatherConfig, StationTableConfig
from mmnet_maps.presets import SOURCES, preset
from mmnet_maps.produce.product.layers import LAYERS
from mmnet_maps.produce.run.power import Power
from mmnet_maps.produce.tile.flags import FLAG_TABLE
from mmnet_maps.simulated.demo import DemoConfig
from mmnet_maps.sources.earth_engine.settings import EarthEngineConfig
from mmnet_maps.sources.stations.archives import StationArchives
from mmnet_maps.variables import VARIABLES, Variable

__all__ = ["PAGES", "ROOTS", "TABLES", "described", "meanings"]

#: What each file of settings is for; classes inside another one follow it on the page.
ROOTS: dict[str, tuple[str, tuple[type[Config], ...]]] = {
    "A cube": ("`cube build`, `cube check`, `fetch`, `stations sample`", (CubeConfig,)),
    "Maps day by day": ("`daily`", (DailyConfig,)),
    "A cube from Earth Engine": ("`earthengine cube`", (EarthEngineCubeConfig,)),
    "Earth Engine": ("`earthengine stations`, `earthengine check`", (EarthEngineConfig,)),
    "A station table": (
        "`stations build`; with the second table of keys `stations from-uscrn`",
        (StationTableConfig, OwnWeatherConfig),
    ),
    "Records of stations over HTTP": ("`stations fetch`", (StationArchives,)),
    "A training": ("`train`", (ExperimentConfig,)),
    "Power and emissions": ("`plan --power`", (Power,)),
    "The demo": ("`demo`", (DemoConfig,)),
}
_PLAIN = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    dt.date: "date",
    Any: "any",
}
_COMMANDS = """# Commands

What `mmnet-maps COMMAND --help` prints. A wrong input ends with one line and status 2, work that failed
with one line and status 1. `--json` prints one JSON object on standard output."""
_CONFIGURATION = """# Configuration keys

Files are YAML. `--set KEY=VALUE` replaces one key, and a dotted key replaces one inside another (`--set
modern.epochs=5`). A key that is not listed here is refused, and the message names the nearest one. Where the
column of defaults is empty, nothing is set."""
_CATALOGUE = """# Variables and features

The catalogue: every variable has one name, one unit and one range, in station tables, cubes, bundles and
maps. A value outside its range is reported, and becomes missing where the published method says so."""
_GAPS = """Gaps: `linear` is a line between two observations, `hold` is the earlier observation (then the
later one), `past` is the earlier one alone. In a gap longer than the limit, the nearest value is held for
so many days; then the value is missing."""
_LIMITS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


def table(header: list[str], rows: list[list[object]]) -> str:
    """A Markdown table; a bar inside a cell does not end it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in line) + " |"
        for line in lines
    )


# Commands


def _commands(command: Any, context: Any, level: int) -> Iterator[str]:
    """The sections of a command and of the commands inside it."""
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        here = inner.context_class(inner, info_name=name, parent=context)
        title = f"{'#' * level} {here.command_path}"
        if hasattr(inner, "commands"):
            yield f"{title}\n\n{inner.help}"
            yield from _commands(inner, here, level + 1)
        else:
            usage = inner.get_usage(here).removeprefix("Usage: ")
            options = (p.get_help_record(here) for p in inner.params)
            rows: list[list[object]] = [[f"`{left}`", right] for left, right in filter(None, options)]
            yield f"{title}\n\n{inner.help}\n\n```text\n{usage}\n```\n\n{table(['option', 'meaning'], rows)}"


def _commands_page() -> str:
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name="mmnet-maps", terminal_width=1000)
    return "\n\n".join([_COMMANDS, *_commands(command, context, 2)])


# Configuration


def described(kind: type[Config]) -> list[type[Config]]:
    """A configuration class and all that stand inside it, each once, in the order of its keys."""
    found: dict[type[Config], None] = {kind: None}
    for field in kind.model_fields.values():
        for inner in _classes(field.annotation):
            found |= dict.fromkeys(described(inner))
    return list(found)


def _classes(annotation: Any) -> Iterator[type[Config]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _classes(inner)


def meanings(kind: type[Config]) -> dict[str, str]:
    """What each key means, by the numpydoc attributes of the class and of those that it extends."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if each is not Config and issubclass(each, Config):
            for entry in ClassDoc(each)["Attributes"]:
                text = " ".join(entry.desc)
                found |= {name: text for name in entry.name.split(", ") if text}
    return {name: found.get(name, _own_text(field)) for name, field in kind.model_fields.items()}


def _own_text(field: FieldInfo) -> str:
    """The summary of the class that a key holds, where the key itself has nothing to add."""
    for inner in _classes(field.annotation):
        return ClassDoc(inner)["Summary"][0]
    return ""


def _kind(annotation: Any) -> str:
    """The type of a key in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(inner[0])
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(each) for each in inner if each is not type(None)))
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return f"list of {_kind(inner[0])}"
        return f"{len(inner)} of: {_kind(inner[0])}"
    if origin is dict:
        return f"mapping of {_kind(inner[0])} to {_kind(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return _PLAIN[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ({}, ()):
        return ""
    if isinstance(value, BaseModel):
        changed = value.model_dump(mode="json", exclude_defaults=True)
        return f"`{yaml.safe_dump(changed, default_flow_style=True).strip()}`" if changed else "its defaults"
    plain = yaml.safe_dump(value if not isinstance(value, tuple) else list(value), default_flow_style=True)
    return f"`{plain.removesuffix('...' + chr(10)).strip()}`"


def _limits(field: FieldInfo) -> str:
    said = [
        text.format(getattr(rule, name))
        for rule in field.metadata
        for name, text in _LIMITS.items()
        if getattr(rule, name, None) is not None
    ]
    return f" ({', '.join(said)})" if said else ""


def _class_section(kind: type[Config], seen: set[type[Config]]) -> str:
    """The keys of a class; one that extends a class of the page shows what it changes."""
    base = next((each for each in kind.__mro__[1:] if each in seen), None)
    names = list(kind.model_fields if base is None else kind.__annotations__)
    text = meanings(kind)
    rows: list[list[object]] = [
        [f"`{name}`", _kind(field.annotation) + _limits(field), _default(field), text[name]]
        for name, field in kind.model_fields.items()
        if name in names
    ]
    start = f"({kind.__name__.lower()})=\n### {kind.__name__}\n\n{ClassDoc(kind)['Summary'][0]}"
    if base is not None:
        start += f" All keys of [{base.__name__}](#{base.__name__.lower()}), with these changes."
    return f"{start}\n\n{table(['key', 'type', 'default', 'meaning'], rows)}"


def _configuration_page() -> str:
    parts = [_CONFIGURATION]
    seen: set[type[Config]] = set()
    for title, (commands, roots) in ROOTS.items():
        parts.append(f"## {title}\n\nFor {commands}.")
        for kind in (inner for root in roots for inner in described(root)):
            if kind not in seen:
                parts.append(_class_section(kind, seen))
                seen.add(kind)
    return "\n\n".join(parts)


# Variables, features and presets


def _gaps(variable: Variable) -> str:
    return "" if variable.fill == "none" else f"{variable.fill}, up to {variable.max_gap} days"


def _catalogue_page() -> str:
    catalogue = published_catalogue()
    rows: list[list[object]] = [
        [
            f"`{v.name}`",
            v.long_name,
            f"`{v.unit}`",
            "{:g} to {:g}".format(*v.valid_range),
            v.source,
            v.kind,
            v.cadence,
            _gaps(v),
            v.resolution,
        ]
        for v in VARIABLES
    ]
    header = [
        "name",
        "meaning",
        "unit",
        "range",
        "source",
        "used as",
        "given",
        "gaps are filled",
        "native grid",
    ]
    return "\n\n".join(
        [
            _CATALOGUE,
            f"## Variables\n\n{table(header, rows)}",
            _GAPS,
            f"## Snapshot features\n\n{_features(catalogue, catalogue.snapshot, FEATURE_INPUTS)}",
            "With `--encoding cyclic`, day of year and aspect each become a sine and a cosine.",
            f"## Series\n\nEach on {len(catalogue.lags)} days: the day itself and the days before it.\n\n"
            + _features(catalogue, catalogue.series, SOIL_STATE_INPUTS),
            "## Soil-state channels\n\nAdded to the series by `--soil-state`.\n\n"
            + _features(catalogue, tuple(SOIL_STATE_INPUTS), SOIL_STATE_INPUTS),
            f"## Where each door finds a source\n\n{_presets()}",
        ]
    )


def _features(catalogue: Catalogue, names: tuple[str, ...], inputs: dict[str, tuple[str, ...]]) -> str:
    rows: list[list[object]] = [
        [i, f"`{name}`", ", ".join(f"`{v}`" for v in inputs.get(name, (name,)))]
        for i, name in enumerate(names, 1)
    ]
    return table(["", "name", "made from"], rows)


def _presets() -> str:
    doors = ("planetary", "earthdata", "earthengine", "files")
    rows: list[list[object]] = [[f"`{name}`", *(_where(door, name) for door in doors)] for name in SOURCES]
    return table(["source", *doors], rows)


def _where(door: str, name: str) -> str:
    found = yaml.safe_load(preset(door, name))
    if "assets" in found:
        return ", ".join(f"`{asset['id']}`" for asset in found["assets"])
    if found.get("kind") == "stac":
        return f"{', '.join(f'`{key}`' for key in found['collections'])} of `{found['api']}`"
    return f"`{found.get('url') or found.get('pattern') or found.get('path')}`"


# Python


def _python_page() -> str:
    parts = ["# Python\n\n`import mmnet_maps as mm`: every name, with its arguments and what it gives back."]
    for name in mm.__all__:
        what = getattr(mm, name)
        if isinstance(what, type):
            parts.append(f"## mm.{name}\n\n```{{eval-rst}}\n.. autoexception:: mmnet_maps.{name}\n```")
        elif callable(what):
            parts.append(f"## mm.{name}\n\n```{{eval-rst}}\n.. autofunction:: mmnet_maps.{name}\n```")
    return "\n\n".join(parts)


#: The pages, by file name.
PAGES = {
    "commands.md": _commands_page,
    "configuration.md": _configuration_page,
    "catalogue.md": _catalogue_page,
    "python.md": _python_page,
}
#: The tables of ``docs/product.md``.
TABLES = {
    "flags": table(
        ["bit", "name", "meaning", "the value is"],
        [
            [flag.bit, f"`{flag.name}`", flag.meaning, "missing" if flag.missing else "there"]
            for flag in FLAG_TABLE.values()
        ],
    ),
    "layers": table(
        ["layer", "what", "unit", "stored as", "scale", "missing", "in coarser levels"],
        [
            [
                f"`{layer.name}`",
                layer.long_name,
                layer.units,
                layer.packing.dtype,
                layer.packing.scale,
                layer.packing.missing,
                layer.overview,
            ]
            for layer in LAYERS.values()
        ],
    ),
}


def write(folder: Path) -> None:
    """Write every page to a folder, where it is not there as it is."""
    folder.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        path, text = folder / name, page() + "\n"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
