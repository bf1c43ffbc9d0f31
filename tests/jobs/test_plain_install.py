"""Without extras the main path works, and what needs an extra says which in one line."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.plain_install import ROOT, extra_modules, run_plain

TINY = (
    "simulation.region_pixels=64",
    "simulation.first_day=2020-06-01",
    "simulation.last_day=2020-06-03",
    "simulation.history_days=76",
    "simulation.spin_up_days=30",
    "simulation.station_pixels=32",
    "simulation.stations_per_climate=4",
    "simulation.landscapes_per_climate=1",
    "simulation.climates=[southern_plains, humid_midwest]",
    "simulation.station_first_day=2019-04-01",
    "simulation.station_last_day=2019-09-30",
    "simulation.validation_stations=4",
    "training.modern.epochs=1",
    "training.workers=1",
    "training.every=8",
    "workers=1",
)
#: Runs commands one after another, and prints the status and the last line on standard error of each.
SHELL = """
import contextlib, io, json, sys
from mmnet_maps.cli import main
for command in {commands!r}:
    sys.argv, status, said = ["mmnet-maps", *command], 0, io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
    print(json.dumps([status, said.getvalue().strip().splitlines()[-1:]]))
"""


def _run(folder: Path, *commands: Sequence[object]) -> list[tuple[int, str]]:
    words = [[str(word) for word in command] for command in commands]
    done = run_plain(folder, SHELL.format(commands=words))
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(commands), done.stderr[-2000:]
    return [(status, line[0] if line else "") for status, line in found]


def test_the_hook_leaves_the_extras_out(tmp_path: Path) -> None:
    assert not {"torch", "xarray", "matplotlib", "distributed", "numpy"} & extra_modules()
    assert {"sklearn", "xgboost", "shap", "ismn", "ee", "pytest", "rioxarray"} <= extra_modules()
    done = run_plain(tmp_path, "import sklearn")
    assert "No module named 'sklearn'" in done.stderr


def test_every_import_of_an_extra_says_which_it_needs() -> None:
    extra, bare = extra_modules(), []
    for path in sorted((ROOT / "mmnet_maps").rglob("*.py")):
        if "earth_engine" in path.parts and path.name != "__init__.py" and "sources" in path.parts:
            continue  # the room's __init__ refuses before any of them is read
        for node in _bare_imports(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            bare += [f"{path}: {name}" for name in names if name.partition(".")[0] in extra]
    assert bare == []


def _bare_imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that run without `needs_extra` around them."""
    if isinstance(node, ast.With) and "needs_extra" in ast.unparse(node.items[0]):
        return
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _bare_imports(child)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest demo, made by a plain install."""
    out = tmp_path_factory.mktemp("plain") / "demo"
    sets = [part for text in TINY for part in ("--set", text)]
    ((status, said),) = _run(out.parent, ("demo", "--out", out, *sets))
    assert status == 0, said
    return out


def test_the_main_path_works_without_extras(demo: Path, tmp_path: Path) -> None:
    table, product, region = demo / "table.parquet", demo / "product.zarr", demo / "data/region"
    bundle, cube, run = demo / "run/all/bundle", demo / "cube.zarr", tmp_path / "run"
    predicted = demo / "run/fold-1/y_test_pred.csv"
    days = ("--start", "2020-06-01", "--end", "2020-06-03")
    quick = ("--set", "folds=2", "--set", "epochs=1", "--set", "batch=64")
    commands = [
        ("train", "--table", table, "--model", "mlp", "--experiment", "off-site", *quick, "--out", run),
        ("report", run, "--out", tmp_path / "run.html"),
        ("evaluate", predicted, "--table", table, "--resamples", 10),
        ("figures", demo / "run", "--table", table, "--out", tmp_path / "figures"),
        ("bundle", "show", bundle),
        ("stations", "predict", "--bundle", bundle, "--table", table, "--out", tmp_path / "p.csv"),
        ("cube", "build", "--config", demo / "cube.yaml", "--out", cube),
        ("cube", "show", cube),
        ("plan", "--bundle", bundle, "--cube", cube, *days, "--out", product),
        ("predict", "--bundle", bundle, "--cube", cube, *days, "--out", product),
        ("export", "--product", product, "--out", tmp_path / "maps"),
        ("validate", "--product", product, "--in-situ", region / "in_situ.csv",
         "--network", region / "network.gpkg", "--out", tmp_path / "validation"),
        ("report", product, "--out", tmp_path / "product.html"),
        ("doctor",),
    ]  # fmt: skip
    for command, (status, said) in zip(commands, _run(tmp_path, *commands), strict=True):
        assert status == 0, (command, said)


def test_what_needs_an_extra_says_which(demo: Path, tmp_path: Path) -> None:
    table, days = demo / "table.parquet", ("--start", "2020-06-01", "--end", "2020-06-03")
    train = ("train", "--table", table, "--set", "folds=2", "--out", tmp_path / "run", "--model")
    bundle, out, archive = demo / "run/all/bundle", tmp_path / "e", tmp_path / "ismn"
    (archive / "SCAN/Mandan").mkdir(parents=True)
    (archive / "SCAN/Mandan/sensor.stm").touch()
    commands = {
        ("stations", "from-ismn", "--archive", archive, "--out", tmp_path / "i.csv"): "stations",
        (*train, "xgboost"): "science",
        ("explain", "--bundle", bundle, "--table", table, "--out", out): "science",
        ("earthengine", "check"): "ee",
        ("earthengine", "cube", "--config", demo / "cube.yaml", "--out", tmp_path / "c"): "ee",
        ("earthengine", "stations", "--network", table, *days, "--out", tmp_path / "r"): "ee",
    }
    for (command, extra), (status, said) in zip(commands.items(), _run(tmp_path, *commands), strict=True):
        assert status == 2 and said.endswith(f"pip install 'mmnet-maps[{extra}]'"), (command, said)
