"""Every command line in README.md, CONTRIBUTING.md and docs/ is collected here, and is run.

``mmnet-maps`` lines run page by page and line by line, as a reader would run them, in a folder that holds
small files under the names of the documentation. What needs an account, an archive over HTTP, a published
file or minutes is run by another test, which `ELSEWHERE` names.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
import typer
import yaml
from shapely.geometry import box
from typer.testing import CliRunner

import mmnet_maps as mm
from mmnet_maps.cli.main import app
from mmnet_maps.learn.bundle import load_bundle, save_bundle
from mmnet_maps.simulated import SimulationConfig, cube_settings, simulate_region, simulate_stations
from mmnet_maps.store.remote import Remote, store_at
from tests.store.s3 import Server

ROOT = Path(__file__).resolve().parents[1]
#: What is built is not written by anyone.
_BUILT = {"_build", "generated"}
PAGES = sorted(
    page
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"))
    if not _BUILT & set(page.parts)
)
_FENCE = re.compile(r"^```(?:bash|sh|shell|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(mmnet-maps [a-z][^`]*)`")
#: Commands of others that the documentation shows.
_OTHERS = ("pip", "dask", "earthengine", "pre-commit", "export")
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
        assert name in _OTHERS, line


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


#: Tests that run a command against a stand-in, or on a file of its own, and the call in them.
ELSEWHERE = {
    "bench": ("tests/bench/test_end_to_end.py", "bench_report("),
    "bundle import": ("tests/learn/test_commands.py", '"bundle", "import"'),
    "earthengine check": ("tests/sources/earth_engine/test_check.py", '"earthengine", "check"'),
    "earthengine cube": ("tests/sources/earth_engine/test_check.py", '"earthengine", "cube"'),
    "earthengine stations": ("tests/sources/earth_engine/test_check.py", '"earthengine", "stations"'),
    "fetch": ("tests/sources/remote/test_archives.py", "fetch("),
    "stations fetch": ("tests/sources/stations/test_archives.py", '"stations", "fetch"'),
    "stations from-ismn": ("tests/cli/test_stations.py", '"from-ismn"'),
    "stations from-uscrn": ("tests/cli/test_stations.py", '"from-uscrn"'),
    "stations sample": ("tests/cli/test_sample.py", '"sample"'),
}
#: What stands in a line for names, days and regions: smaller, so that the whole takes seconds.
_STANDS_FOR = {
    "SCAN_2001": "SCAN_Simulated_1",
    "--region=-98.42,36.38,-98.38,36.41": "--region=-98.405,36.395,-98.395,36.405",
    "2020-05-25": "2020-05-21",
    "2020-06-01": "2020-05-18",
    "2020-06-07": "2020-05-19",
    "2020-06-14": "2020-05-21",
}
#: What makes a line small enough for a test.
_SMALLER = {
    "train": "--set epochs=1 --set folds=2 --set every=5 --set batch=64 --set modern.epochs=1 "
    "--set modern.stations=3 --set baseline.rounds=3 --set blend=false",
    "explain": "--rows 20 --background 20 --samples 2",
    "evaluate": "--resamples 20",
}
_SIMULATION: dict[str, Any] = {
    "region_pixels": 32,
    "climates": ["southern_plains"],
    "stations_per_climate": 8,
    "landscapes_per_climate": 1,
    "station_pixels": 48,
    "station_first_day": "2018-01-01",
    "station_last_day": "2018-12-31",
    "validation_stations": 8,
    "first_day": "2020-05-16",
    "last_day": "2020-05-21",
}
_COMMANDS: Any = typer.main.get_command(app)


def _run(words: list[str]) -> str:
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, (words, done.output)
    return done.stdout


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small files and results under the names that the documentation uses."""
    folder = tmp_path_factory.mktemp("documented")
    config = SimulationConfig.from_mapping(_SIMULATION)
    simulate_stations(config, folder)
    simulate_region(config, folder)
    here = Path.cwd()
    os.chdir(folder)
    try:
        _fill(config)
    finally:
        os.chdir(here)
    return folder


def _fill(config: SimulationConfig) -> None:
    for name in ("exports", "raw"):
        shutil.copytree("stations/raw", name)
    shutil.copy("region/in_situ.csv", "my_probes.csv")
    shutil.copy("region/network.gpkg", "my_probes.gpkg")
    both = ("stations", "region")
    pd.concat(pd.read_csv(f"{name}/in_situ.csv") for name in both).to_csv("in_situ.csv", index=False)
    pd.concat(gpd.read_file(f"{name}/network.gpkg") for name in both).to_file("stations.gpkg")
    Path("files").mkdir()
    for path, rasters in (("cube.yaml", "rasters"), ("files/cube.yaml", "../rasters")):
        days = {"maps": ["2020-05-16", "2020-05-21"]}
        Path(path).write_text(yaml.safe_dump(cube_settings(config, rasters) | days))
    mm.build_table("stations/raw", "stations/in_situ.csv", "stations/network.gpkg", "table.parquet")
    _run(_smaller(shlex.split("train --table table.parquet --model mmnet --experiment all --out runs/all")))
    for run in ("off-site", "mmnet", "xgboost", "ridge"):
        shutil.copytree("runs/all", f"runs/{run}", ignore=shutil.ignore_patterns("all"))
    shutil.copytree("runs/all/all/bundle", "bundle")
    mm.build_cube("cube.yaml", "cube.zarr")
    mm.predict("bundle", "cube.zarr", "2020-05-16", "2020-05-21", "product.zarr")
    mm.export("product.zarr", "maps")
    mm.validate("product.zarr", "in_situ.csv", "stations.gpkg", "validation")
    shutil.copytree("maps", "other_maps", ignore=shutil.ignore_patterns("quality*", "*.json", "*.qml"))
    maps = mm.open_product("product.zarr").drop_encoding()
    maps[["soil_moisture"]].rename(soil_moisture="sm_surface").to_netcdf("smap.nc")
    grid = mm.open_cube("cube.zarr").grid
    region = gpd.GeoDataFrame({"id": ["all"]}, geometry=[box(*grid.bounds)], crs=grid.crs)
    for name in ("county.gpkg", "farm.gpkg", "fields.gpkg"):
        region.to_file(name)
    Path("my_presets").mkdir()
    job = {"config": "cube.yaml", "cube": "cube.zarr", "bundle": "bundle", "product": "product.zarr"}
    Path("daily.yaml").write_text(yaml.safe_dump({**job, "maps": "maps", "start": "2020-05-16"}))
    probes = pd.read_csv("in_situ.csv").drop_duplicates("ID").rename(columns=str.lower)
    probes[["id", "longitude", "latitude"]].to_csv("probes.csv", index=False)
    for name in ("ours.csv", "theirs.csv"):
        shutil.copy("runs/all/fold-1/y_test_pred.csv", name)


@pytest.fixture
def stored(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An S3 server with the bundle of the documentation."""
    server = Server()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    store_at.cache_clear()
    save_bundle(load_bundle(inputs / "bundle"), Remote("s3://maps", "bundles/modern"))
    yield
    server.stop()
    store_at.cache_clear()


def _smaller(words: list[str]) -> list[str]:
    return [*words, *shlex.split(_SMALLER.get(words[0], ""))]


def _command(words: list[str]) -> str:
    """The name of the command of a line: ``cube build``, ``train``."""
    group = hasattr(_COMMANDS.commands.get(words[0]), "commands")
    return " ".join(words[:2]) if group else words[0]


_BY_PAGE = {
    str(page.relative_to(ROOT)): [
        shlex.split(line)[1:]
        for line in command_lines(page.read_text(encoding="utf-8"))
        if line.startswith("mmnet-maps ")
    ]
    for page in PAGES
}


@pytest.mark.parametrize("page", [page for page, lines in _BY_PAGE.items() if lines])
def test_the_lines_of_a_page_run_one_after_the_other(
    page: str,
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    work = tmp_path / "work"
    shutil.copytree(inputs, work)
    monkeypatch.chdir(work)
    if any("s3://" in word for words in _BY_PAGE[page] for word in words):
        request.getfixturevalue("stored")
    monkeypatch.setattr("mmnet_maps.show.server.serve", lambda *_: None)
    for words in _BY_PAGE[page]:
        if _command(words) in ELSEWHERE or words[0].startswith("--") or {"cuda", "--scheduler"} & {*words}:
            continue  # a scheduler: tests/test_pipelines.py
        if "--out" in words:
            out = Path(words[words.index("--out") + 1])
            kept = out.read_bytes() if out.name == "cube.yaml" and "simulated" not in words else None
            _remove(out)  # the line makes it, instead of finding it as it is
        _run(_smaller([_STANDS_FOR.get(word, word) for word in words]))
        if "--out" in words and kept is not None:
            out.write_bytes(kept)  # the lines below it cannot reach the archives of a door


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_run_elsewhere_is_run_there(name: str) -> None:
    assert any(_command(words) == name for lines in _BY_PAGE.values() for words in lines)
    test, call = ELSEWHERE[name]
    assert call in (ROOT / test).read_text(encoding="utf-8")


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
