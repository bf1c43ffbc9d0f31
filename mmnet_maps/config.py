"""Configuration: frozen models, unknown keys refused, YAML in and out, dotted overrides; JSON of others."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mmnet_maps.errors import InputError, suggestion

__all__ = ["Config", "parse_json", "read_yaml"]

#: Bytes of the largest configuration that is read, and most aliases in it.
_LARGEST, _MOST_ALIASES = 2**18, 20


class Config(BaseModel):
    """Base of every configuration: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def load(cls, path: Path | None = None, overrides: Sequence[str] = ()) -> Self:
        """Read a YAML file and apply ``KEY=VALUE`` overrides on top of it.

        Parameters
        ----------
        path : Path, optional
            YAML file; without one all keys have their defaults.
        overrides : sequence of str
            ``epochs=1``, ``grid.resolution=30``: dotted keys, values read as YAML.

        Raises
        ------
        InputError
            The file is missing or not a mapping, or a key or value does not fit; the message names it.
        """
        data = _read_mapping(path) if path is not None else {}
        where = str(path) if path is not None else "settings"
        return cls.from_mapping(data, where, overrides)

    @classmethod
    def from_mapping(
        cls, data: dict[str, Any], where: str = "settings", overrides: Sequence[str] = ()
    ) -> Self:
        """Validate a mapping, with ``KEY=VALUE`` over it; errors name ``where`` and the key."""
        for text in overrides:
            _apply_override(data, text)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise InputError(_explain(cls, error, where)) from None

    def to_yaml(self) -> str:
        """Render as YAML that `load` reads back to an equal configuration."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key that is there twice, and more aliases than a configuration can need.

    Aliases of aliases stand for billions of values in a few lines.
    """

    _aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self._aliases += 1
            if self._aliases > _MOST_ALIASES:
                raise yaml.YAMLError(f"more than {_MOST_ALIASES} aliases")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value[:80]} is there twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises
    ------
    InputError
        It is not UTF-8 or not YAML, is larger than 256 KiB, nests too deep, or has a key twice.
    """
    size = path.stat().st_size
    if size > _LARGEST:
        raise InputError(f"{path}: {size:,} bytes, expected a configuration of at most {_LARGEST:,}")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())[:300]}") from None
    except RecursionError:
        raise InputError(f"{path}: not valid YAML: nested too deep") from None


def parse_json(text: str | bytes, where: object) -> Any:
    """What a JSON text holds, read as the standard has it.

    Parameters
    ----------
    text : str or bytes
    where : object
        What to call it in messages: its path.

    Raises
    ------
    InputError
        It is not UTF-8 or not JSON, has NaN or a number that is infinite, nests too deep, or has a key twice.

    Examples
    --------
    >>> parse_json('{"a": 1, "a": 2}', "card.json")
    Traceback (most recent call last):
    ...
    mmnet_maps.errors.InputError: card.json: not valid JSON: the key a is there twice
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"the key {next(n for n in names if names.count(n) > 1):.80} is there twice")
        return found

    try:
        given = text.decode("utf-8") if isinstance(text, bytes) else text
        return json.loads(given, object_pairs_hook=once, parse_constant=_finite, parse_float=_finite)
    except ValueError as error:
        raise InputError(f"{where}: not valid JSON: {error!s:.200}") from None
    except RecursionError:
        raise InputError(f"{where}: not valid JSON: nested too deep") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.40} is no finite number")
    return number


def _read_mapping(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such configuration file")
    data = read_yaml(path)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a mapping of keys at the top, found {type(data).__name__}")
    return data


def _apply_override(data: dict[str, Any], text: str) -> None:
    key, sep, value = text.partition("=")
    if not sep or not key:
        raise InputError(f"--set {text}: expected KEY=VALUE")
    *parents, leaf = key.split(".")
    group = data
    for name in parents:
        group = group.setdefault(name, {})
        if not isinstance(group, dict):
            raise InputError(f"--set {text}: {name} is a value, not a group of keys")
    try:
        group[leaf] = yaml.load(value, _Loader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: of a date that there is not
        raise InputError(f"--set {text}: the value is not valid YAML") from None


def _explain(cls: type[Config], error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "(top)"
    if first["type"] == "extra_forbidden":
        fields = _fields(cls, first["loc"][:-1])
        listed = f"; known keys are {', '.join(fields)}" if fields else ""
        return f"{where}: unknown key {key}{listed}{suggestion(str(first['loc'][-1]), fields)}"
    message = first["msg"].removeprefix("Value error, ")
    # A rule about several keys is given the whole of them, which would hide what it says.
    shown = "" if isinstance(first["input"], dict) else f", found {_short(first['input'])}"
    return f"{where}: {key}: {message}{shown}"


def _fields(cls: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """Keys of the group at a path; none where the group is not one of plain keys."""
    for name in path:
        field = cls.model_fields.get(str(name))
        if field is None or not isinstance(field.annotation, type):
            return []
        if not issubclass(field.annotation, BaseModel):
            return []
        cls = field.annotation
    return list(cls.model_fields)


def _short(value: Any) -> str:
    """A value as it is shown in a message, which never repeats a whole file."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 200 else f"{text[:200]}..."
