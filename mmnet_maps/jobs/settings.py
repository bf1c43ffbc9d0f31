"""Settings as a caller gives them: a file, an object, or single keys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mmnet_maps.config import Config
from mmnet_maps.errors import InputError
from mmnet_maps.store.location import Location, local_path, target_location
from mmnet_maps.store.whole import can_hold

__all__ = ["Settings", "as_overrides", "output_file", "settings_of"]

#: ``{"epochs": 3}`` or ``["epochs=3"]``; dotted keys reach inside groups.
Settings = Mapping[str, Any] | Sequence[str]
_Kind = TypeVar("_Kind", bound=Config)


def settings_of(
    kind: type[_Kind], config: str | Path | _Kind | None = None, settings: Settings = ()
) -> _Kind:
    """Read a configuration and put single settings over it.

    Parameters
    ----------
    kind : type of Config
    config : str, Path or Config, optional
        A YAML file, or the configuration itself. Without it, all keys have their defaults.
    settings : mapping or sequence of str
        ``{"modern.epochs": 3}`` or ``["modern.epochs=3"]``.

    Raises
    ------
    InputError
        The file is missing, or a key or value does not fit.

    Examples
    --------
    >>> from mmnet_maps.prepare.stations.settings import StationTableConfig
    >>> settings_of(StationTableConfig, settings={"encoding": "cyclic"}).encoding
    'cyclic'
    """
    texts = as_overrides(settings)
    if not isinstance(config, Config):
        return kind.load(None if config is None else local_path(config), texts)
    return (
        type(config).from_mapping(config.model_dump(exclude_unset=True), overrides=texts) if texts else config
    )


def as_overrides(settings: Settings) -> list[str]:
    """The settings as ``KEY=VALUE``, values as YAML."""
    if isinstance(settings, Mapping):
        return [f"{key}={json.dumps(value, default=str)}" for key, value in settings.items()]
    return list(settings)


def output_file(out: str | Path, endings: Sequence[str] = ()) -> Location:
    """Refuse before the work what could not be written after it."""
    path = target_location(out)
    if endings and path.suffix not in endings:
        raise InputError(f"--out {path}: expected a name that ends in {' or '.join(endings)}")
    if not can_hold(path.parent):
        raise InputError(f"--out {path}: the folder {path.parent} does not exist")
    if isinstance(path, Path) and path.is_dir():
        raise InputError(f"--out {path}: is a folder, a file was expected")
    return path
