"""Every command line in README.md and docs/ names a command and options that are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from mmnet_maps.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted({ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md"})
_FENCE = re.compile(r"^```(?:bash|sh|shell|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(mmnet-maps [a-z][^`]*)`")
#: Commands of others that the documentation shows.
_OTHERS = ("pip", "dask", "aws", "gdalinfo", "git", "earthengine", "uv", "pre-commit", "export")
_MAKE = re.compile(r"^([a-z]+):", re.MULTILINE)


def command_lines(text: str) -> Iterator[str]:
    """Lines of the shell blocks of a page, continued ones joined, without prompts and comments."""
    for block in _FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words:
                yield shlex.join(words)


def _all_lines() -> list[tuple[str, str]]:
    return [
        (str(page.relative_to(ROOT)), line)
        for page in PAGES
        if "_build" not in page.parts
        for line in command_lines(page.read_text(encoding="utf-8"))
    ]


def check(words: list[str]) -> None:
    """Parse the words of a command line as the application would, without running anything."""
    command: Any = typer.main.get_command(app)
    context: Any = None
    if words and words[0].startswith("--"):
        assert any(words[0] in option.opts for option in command.params), words  # would act at once
        return
    while hasattr(command, "commands"):
        # The parsing of a group leaves the words of its command.
        context = command.make_context(command.name, list(words), parent=context)
        _, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(command.name, list(words), parent=context)


@pytest.mark.parametrize(("page", "line"), _all_lines(), ids=lambda text: text[:60])
def test_a_command_line_of_the_documentation_is_accepted(page: str, line: str) -> None:
    words = shlex.split(line)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        del words[0]  # settings of the environment
    name, *rest = words
    if Path(name).name == "mmnet-maps":
        check(rest)
    elif Path(name).name == "make":
        targets = _MAKE.findall((ROOT / "Makefile").read_text())
        assert all(word in targets or "=" in word for word in rest), rest
    elif Path(name).name.startswith("python") and rest[0] == "-m":
        module = ROOT.joinpath(*rest[1].split("."))
        assert rest[1] in ("pytest", "pip") or module.with_suffix(".py").is_file(), rest
    elif Path(name).name.startswith("python"):
        script = ROOT / rest[0]
        assert script.is_file()
        known = set(re.findall(r'add_argument\("(--[\w-]+)"', script.read_text()))
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known
    else:
        assert name in (
            "pip",
            "dask",
            "aws",
            "gdalinfo",
            "git",
            "earthengine",
            "uv",
            "pre-commit",
            "export",
        ), line


def _named() -> list[tuple[str, str]]:
    return sorted(
        {
            (str(page.relative_to(ROOT)), line)
            for page in PAGES
            for line in _INLINE.findall(page.read_text(encoding="utf-8"))
        }
    )


@pytest.mark.parametrize(("page", "line"), _named(), ids=lambda text: text[:60])
def test_a_command_named_in_a_sentence_is_there(page: str, line: str) -> None:
    command: Any = typer.main.get_command(app)
    for word in shlex.split(line)[1:]:
        if hasattr(command, "commands"):
            assert word in command.commands, (page, line)
            command = command.commands[word]
        elif word.startswith("--"):
            option = word.partition("=")[0]
            assert any(option in (*known.opts, *known.secondary_opts) for known in command.params), (
                page,
                line,
            )


def test_every_command_has_json_and_help() -> None:
    def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                yield from leaves(inner, f"{path} {name}")
        else:
            yield path, command

    found = dict(leaves(typer.main.get_command(app), "mmnet-maps"))
    assert len(found) > 20
    for path, command in found.items():
        assert command.help, path
        assert any("--json" in parameter.opts for parameter in command.params), path
        assert all(option.help for option in command.params if option.opts[0].startswith("-")), path


def test_what_is_not_there_is_refused() -> None:
    for words in (["predikt"], ["predict", "--bundel", "b"], ["cube", "build", "--config", "c.yaml"]):
        with pytest.raises(Exception, match=r"No such|Missing"):
            check(words)
