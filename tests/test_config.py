"""Configuration: YAML in and out, overrides, and one-line errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmnet_maps.config import Config, read_yaml
from mmnet_maps.errors import InputError


class Inner(Config):
    resolution: float = 30.0


class Outer(Config):
    epochs: int = 100
    grid: Inner = Inner()


def test_yaml_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    config = Outer(epochs=3, grid=Inner(resolution=10))
    path.write_text(config.to_yaml())
    assert Outer.load(path) == config


def test_overrides_reach_inner_keys_and_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("epochs: 7\n")
    config = Outer.load(path, ["epochs=1", "grid.resolution=90"])
    assert (config.epochs, config.grid.resolution) == (1, 90.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 1\n", "unknown key epoch; known keys are epochs, grid"),
        ("epochs: many\n", "epochs: Input should be a valid integer.*found 'many'"),
        ("grid: {size: 3}\n", r"unknown key grid\.size"),
        ("- 1\n", "expected a mapping"),
        ("a: [\n", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        Outer.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: no such"):
        Outer.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "text", ["epochs", "=3", "epochs.inner=3", "epochs=2020-13-01", "epochs=" + "[" * 5000]
)
def test_a_wrong_override_is_shown(text: str) -> None:
    with pytest.raises(InputError, match="--set"):
        Outer.load(None, ["epochs=1", text])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a: \xff", "not valid YAML: 'utf-8' codec"),
        (b"[" * 5000, "nested too deep"),
        (b"a: " + b"9" * 5000, "not valid YAML: Exceeds the limit"),
        (b"a: 1\nb: 2\na: 3", "the key a is there twice"),
        (b"a: &a [1]\nb: [" + b"*a, " * 21 + b"1]", "more than 20 aliases"),
        (b"a: 2020-02-30", "not valid YAML: day is out of range"),
        (b"#" * 2**21, "expected a configuration of at most 262,144"),
    ],
)
def test_hostile_yaml_is_one_short_line(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "c.yaml").write_bytes(data)
    with pytest.raises(InputError, match=words) as refused:
        read_yaml(tmp_path / "c.yaml")
    assert len(str(refused.value)) < 600


def test_a_message_repeats_no_file_and_moves_no_cursor() -> None:
    said = str(InputError(f"begin \x1b[2J {'x' * 10**6} end"))
    assert said.startswith("begin \\x1b[2J xx")
    assert said.endswith("xx end")
    assert len(said) < 1_010
