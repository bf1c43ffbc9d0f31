"""Commands that make station tables and predict from them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmnet_maps.cli.output import Json, show
from mmnet_maps.whole_file import appearing

if TYPE_CHECKING:
    import pandas as pd

    from mmnet_maps.prepare.stations.table import StationTable

__all__ = ["register"]

stations = typer.Typer(help="Station tables: from raw exports, USCRN or ISMN files; predictions from them.")


class Encoding(StrEnum):
    """How the day of year and the aspect enter the model."""

    published = "published"
    cyclic = "cyclic"


class Fill(StrEnum):
    """Whether gaps are filled from both sides or from earlier observations alone."""

    linear = "linear"
    past = "past"


OutTable = Annotated[Path, typer.Option("--out", help="Station table to write, .parquet or .csv.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE of the table's settings, e.g. gap_limits=none.")
]
SoilState = Annotated[
    bool,
    typer.Option("--soil-state", help="Add the soil-state channels; series steps spread over 90 days."),
]
NormalsUntil = Annotated[
    int | None,
    typer.Option(
        "--normals-until", metavar="YEAR", help="Add climate normals, of the weather up to this year."
    ),
]
Settings = Annotated[Path | None, typer.Option("--config", help="YAML with the table's settings.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(stations, name="stations")


@stations.command("build")
def build(
    raw: Annotated[Path, typer.Option("--raw", help="Folder of raw exports (CSV).")],
    in_situ: Annotated[Path, typer.Option("--in-situ", help="Ground truth CSV.")],
    network: Annotated[
        Path, typer.Option("--network", help="Stations with ID and Domain (GeoPackage, ...).")
    ],
    out: OutTable,
    encoding: Annotated[Encoding | None, typer.Option(help="Default: published.")] = None,
    fill: Annotated[Fill | None, typer.Option(help="Default: linear.")] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="Variable to leave out, e.g. VV; repeat for more.")
    ] = None,
    soil_state: SoilState = False,
    normals_until: NormalsUntil = None,
    config: Settings = None,
    override: Overrides = None,
    as_json: Json = False,
) -> None:
    """Make a station table from the raw exports of the published scripts."""
    from mmnet_maps.catalogue import published_catalogue
    from mmnet_maps.prepare.normals import add_normals
    from mmnet_maps.prepare.stations.table import StationTableConfig, build_station_table
    from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network
    from mmnet_maps.sources.stations.raw_exports import read_collections, read_raw_folder

    _refuse_ending(out)
    settings = StationTableConfig.load(config, [*(override or []), *_chosen(encoding=encoding, fill=fill)])
    catalogue = published_catalogue().without(without or []).with_collections(read_collections(raw))
    if soil_state:
        catalogue = catalogue.with_soil_state()
    truth, places = read_in_situ(in_situ), read_network(network)
    tables = read_raw_folder(raw, catalogue)
    if normals_until is not None:
        tables, catalogue = add_normals(tables, catalogue, normals_until)
    table = build_station_table(tables, truth, places, settings, catalogue)
    _write(table, out, {}, as_json)


@stations.command("from-uscrn")
def from_uscrn(
    files: Annotated[Path, typer.Option("--files", help="Zip or folder of CRND0103-YYYY-ST_Name.txt files.")],
    out: OutTable,
    encoding: Annotated[Encoding | None, typer.Option(help="Default: published.")] = None,
    fill: Annotated[Fill | None, typer.Option(help="Default: linear.")] = None,
    soil_state: SoilState = False,
    normals_until: NormalsUntil = None,
    config: Settings = None,
    override: Overrides = None,
    as_json: Json = False,
) -> None:
    """Make a station table from NOAA USCRN daily01 files, with the variables that they hold."""
    from mmnet_maps.prepare.normals import add_normals
    from mmnet_maps.prepare.stations.table import OwnWeatherConfig, build_station_table
    from mmnet_maps.sources.stations.uscrn import read_uscrn, uscrn_catalogue

    _refuse_ending(out)
    settings = OwnWeatherConfig.load(config, [*(override or []), *_chosen(encoding=encoding, fill=fill)])
    found = read_uscrn(files)
    tables, catalogue = {"uscrn": found.weather}, uscrn_catalogue(soil_state=soil_state)
    if normals_until is not None:
        tables, catalogue = add_normals(tables, catalogue, normals_until)
    table = build_station_table(tables, found.in_situ, found.network, settings, catalogue)
    notes = {
        "files_read": found.files,
        "files_left_out": len(found.other_files),
        "soil_moisture_implausible": found.implausible,
    }
    _write(table, out, notes, as_json)


@stations.command("from-ismn")
def from_ismn(
    archive: Annotated[Path, typer.Option("--archive", help="ISMN zip or folder, either layout.")],
    out: Annotated[Path, typer.Option("--out", help="Ground truth CSV to write.")],
    depth: Annotated[tuple[float, float], typer.Option("--depth", help="From and to, in metres.")] = (
        0.0,
        0.06,
    ),
    min_hours: Annotated[int, typer.Option(help="Hours with a good value that a day needs.")] = 6,
    flag: Annotated[
        list[str] | None, typer.Option("--flag", help="Quality flag to accept. Default: G.")
    ] = None,
    all_days: Annotated[bool, typer.Option("--all-days", help="Also days without a value, empty.")] = False,
    as_json: Json = False,
) -> None:
    """Daily means of the good soil moisture values of an ISMN archive, as ground truth CSV."""
    from mmnet_maps.sources.stations.ismn import read_ismn

    _refuse_no_folder(out)
    frame, report = read_ismn(archive, depth, min_hours, flags=tuple(flag or ["G"]), all_days=all_days)
    _write_csv(frame, out)
    show({"out": str(out), **report.to_dict()}, as_json, f"{report.text()}\nwritten: {out}")


@stations.command("predict")
def predict(
    bundle: Annotated[Path, typer.Option("--bundle", help="Trained model.")],
    table: Annotated[Path, typer.Option("--table", help="Station table of the same catalogue.")],
    out: Annotated[Path, typer.Option("--out", help="CSV to write: ID, Date, y_test, y_pred.")],
    as_json: Json = False,
) -> None:
    """Predict soil moisture for every row of a station table."""
    import pandas as pd

    from mmnet_maps.learn.bundle import load_bundle
    from mmnet_maps.learn.model_input import from_table
    from mmnet_maps.prepare.stations.files import read_table

    _refuse_no_folder(out)
    model = load_bundle(bundle)
    frame, catalogue = read_table(table)
    model.catalogue.refuse_mismatch(catalogue, "the bundle", "the table")
    columns: dict[str, Any] = {"ID": frame["ID"], "Date": frame["Date"]}
    if "VWC_5" in frame.columns:
        columns["y_test"] = frame["VWC_5"]
    columns["y_pred"] = model.predict(from_table(frame, model.catalogue))
    result = pd.DataFrame(columns)
    _write_csv(result, out)
    missing = int(result["y_pred"].isna().sum())
    show({"out": str(out), "rows": len(result), "rows_without_prediction": missing}, as_json)


def _chosen(**options: StrEnum | None) -> list[str]:
    return [f"{name}={option.value}" for name, option in options.items() if option is not None]


def _refuse_ending(out: Path) -> None:
    """Refuse before the work what could not be written after it."""
    from mmnet_maps.errors import InputError

    if out.suffix not in (".parquet", ".csv"):
        raise InputError(f"--out {out}: a station table ends in .parquet or .csv")
    _refuse_no_folder(out)


def _refuse_no_folder(out: Path) -> None:
    from mmnet_maps.errors import InputError

    if not out.parent.is_dir():
        raise InputError(f"--out {out}: the folder {out.parent} does not exist")
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder, a file was expected")


def _write_csv(frame: pd.DataFrame, out: Path) -> None:
    with appearing(out) as draft:
        frame.to_csv(draft, index=False)


def _write(table: StationTable, out: Path, notes: dict[str, int], as_json: bool) -> None:
    from mmnet_maps.prepare.stations.files import write_table

    write_table(table.frame, out, table.catalogue)
    lines = [f"{name.replace('_', ' ')}: {count}" for name, count in notes.items()]
    text = "\n".join([*lines, table.report.text(), f"written: {out}"])
    show({"out": str(out), **notes, **table.report.to_dict()}, as_json, text)
