"""Patterns of file names that would never come to an end are refused with a line, and soon."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmnet_maps.errors import InputError
from mmnet_maps.source_reader import SourceConfig
from mmnet_maps.sources.rasters.files import find_files

NAME = f"SMAP_20200601{'a' * 150}!.tif"


def _find(folder: Path, pattern: str) -> list[str]:
    (folder / NAME).touch()
    config = SourceConfig(variables={"SMAP": {}}, path=".", pattern=pattern)
    return [f.path.name for f in find_files(config, ".", pattern, "SMAP", folder, "sources.smap")]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"(a|aa)+$", "does not come to an end at SMAP_20200601"),
        (r"(a{1,30}){1,30}b", "does not come to an end"),
        (r"a{99999999999}", "no file matches|not a regular expression"),
        ("(" * 499 + ")" * 499, "not a regular expression: maximum recursion|no file matches"),
        ("a" * 1001, "has 1,001 characters, expected at most 1,000"),
    ],
)
def test_a_pattern_without_an_end(tmp_path: Path, pattern: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        _find(tmp_path, pattern)


def test_groups_of_a_pattern_without_names_and_with_a_look_back(tmp_path: Path) -> None:
    assert _find(tmp_path, r"(?<!\d){variable}_(?P<date>\d{8})(a)+!\.tif") == [NAME]
