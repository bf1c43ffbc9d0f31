"""Zarr groups, opened and created where they are stored, and the fast way to decode them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import zarr
import zarrs  # noqa: F401  (makes the pipeline known to zarr)

__all__ = ["create_group", "fast_decoding", "open_group"]

_SETTING = Lock()


def open_group(folder: Path, mode: Literal["r", "r+"] = "r", **how: Any) -> zarr.Group:
    """Open the Zarr group in a folder; `how` is for `zarr.open_group`."""
    return zarr.open_group(folder, mode=mode, **how)


def create_group(folder: Path, attributes: Mapping[str, Any], zarr_format: Literal[2, 3] = 3) -> zarr.Group:
    """Create a Zarr group in a folder that is not there yet."""
    return zarr.create_group(folder, zarr_format=zarr_format, attributes=dict(attributes))


@contextmanager
def fast_decoding() -> Iterator[None]:
    """Arrays opened in here are decoded by the Rust pipeline, several times faster than by Zarr's own.

    Zarr knows the pipeline as a global setting, which is read when an array is opened and put back here.
    What is written is written without it: it orders the chunks of a shard as its threads finish, and bytes
    would differ.
    """
    with _SETTING, zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        yield
