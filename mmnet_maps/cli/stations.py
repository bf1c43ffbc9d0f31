"""Commands that make station tables and predict from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mmnet_maps.cli.output import Json, show
from mmnet_maps.cli.table_lines import ismn_lines, table_lines
from mmnet_maps.progress import counted

__all__ = ["register"]

stations = typer.Typer(help="Station tables: from raw exports, USCRN or ISMN files; predictions from them.")


Encoding = Annotated[
    Literal["published", "cyclic"] | None,
    typer.Option("--encoding", help="Encoding of the day of year and the aspect. Default: published."),
]
Fill = Annotated[
    Literal["linear", "past"] | None,
    typer.Option("--fill", help="Fill gaps from both sides, or only from earlier days. Default: linear."),
]
Target = Annotated[
    str | None, typer.Option("--target", help="Depth to learn: VWC_5, VWC_10, ... VWC_100. Default: VWC_5.")
]
OutTable = Annotated[Path, typer.Option("--out", help="Station table to write, .parquet or .csv.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE of the table's settings, e.g. gap_limits=none.")
]
SoilState = Annotated[
    bool,
    typer.Option(
        "--soil-state", help="Add the soil-state channels, and spread the steps of the series over 90 days."
    ),
]
NormalsUntil = Annotated[
    int | None,
    typer.Option(
        "--normals-until",
        metavar="YEAR",
        help="Add climate normals from the weather of the years up to this one.",
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
    target: Target = None,
    encoding: Encoding = None,
    fill: Fill = None,
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
    from mmnet_maps.jobs.stations import build_table

    summary = build_table(
        raw, in_situ, network, out, without=without or (), soil_state=soil_state, normals_until=normals_until,
        config=config, settings=[*(override or []), *_chosen(target=target, encoding=encoding, fill=fill)],
    )  # fmt: skip
    show(summary, as_json, table_lines(summary))


@stations.command("from-uscrn")
def from_uscrn(
    files: Annotated[Path, typer.Option("--files", help="Zip or folder of CRND0103-YYYY-ST_Name.txt files.")],
    out: OutTable,
    target: Target = None,
    encoding: Encoding = None,
    fill: Fill = None,
    soil_state: SoilState = False,
    normals_until: NormalsUntil = None,
    config: Settings = None,
    override: Overrides = None,
    as_json: Json = False,
) -> None:
    """Make a station table from NOAA USCRN daily01 files, with the variables that they have."""
    from mmnet_maps.jobs.stations import table_from_uscrn

    summary = table_from_uscrn(
        files, out, soil_state=soil_state, normals_until=normals_until,
        config=config, settings=[*(override or []), *_chosen(target=target, encoding=encoding, fill=fill)],
    )  # fmt: skip
    show(summary, as_json, table_lines(summary))


@stations.command("from-ismn")
def from_ismn(
    archive: Annotated[Path, typer.Option("--archive", help="ISMN zip or folder, either layout.")],
    out: Annotated[Path, typer.Option("--out", help="Ground truth CSV to write.")],
    target: Annotated[
        str, typer.Option("--target", help="Column to write: VWC_5, VWC_10, ... VWC_100.")
    ] = "VWC_5",
    depth: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--depth", help="From and to, in metres. Default: 0 0.06, or a fifth around the target."
        ),
    ] = None,
    min_hours: Annotated[int, typer.Option(help="Hours with a good value that a day needs.")] = 6,
    flag: Annotated[
        list[str] | None, typer.Option("--flag", help="Quality flag to accept. Default: G.")
    ] = None,
    all_days: Annotated[
        bool, typer.Option("--all-days", help="Write days without a value too, as empty.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write daily means of the good soil moisture values of an ISMN archive, as ground truth CSV."""
    from mmnet_maps.jobs.stations import in_situ_from_ismn

    summary = in_situ_from_ismn(
        archive, out, target=target, depth=depth, min_hours=min_hours, flags=flag or ["G"], all_days=all_days
    )
    show(summary, as_json, ismn_lines(summary))


@stations.command("sample")
def sample(
    config: Annotated[Path, typer.Option("--config", help="YAML of a cube: the sources to sample.")],
    network: Annotated[
        Path, typer.Option("--network", help="Stations with ID and Domain (GeoPackage, ...).")
    ],
    in_situ: Annotated[Path, typer.Option("--in-situ", help="Ground truth CSV.")],
    out: OutTable,
    around: Annotated[
        Literal["pixel", "disc"],
        typer.Option("--around", help="The map's pixel that holds the station, or a disc around it."),
    ] = "pixel",
    radius: Annotated[float, typer.Option("--radius", min=1.0, help="Radius of the disc in metres.")] = 70.7,
    target: Target = None,
    encoding: Encoding = None,
    fill: Fill = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="Variable to leave out, e.g. VV; repeat for more.")
    ] = None,
    soil_state: SoilState = False,
    normals_until: NormalsUntil = None,
    override: Overrides = None,
    cube_set: Annotated[
        list[str] | None,
        typer.Option("--cube-set", help="Set a key of the YAML: KEY=VALUE, e.g. start=2018-01-01."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a station table from the same sources as the maps."""
    from mmnet_maps.jobs.sample import sample_table

    summary = sample_table(
        config, network, in_situ, out, around=around, radius=radius, without=without or (),
        soil_state=soil_state, normals_until=normals_until, settings=cube_set or (),
        table_settings=[*(override or []), *_chosen(target=target, encoding=encoding, fill=fill)],
    )  # fmt: skip
    show(summary, as_json, table_lines(summary))


@stations.command("fetch")
def fetch(
    network: Annotated[Literal["uscrn", "scan"], typer.Argument(help="Which network.")],
    years: Annotated[tuple[int, int], typer.Option("--years", help="First and last year.")],
    region: Annotated[
        str, typer.Option("--region", help="Polygon file, or west,south,east,north in degrees.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the records; files that it has are kept.")],
    config: Annotated[Path | None, typer.Option("--config", help="YAML with addresses and limits.")] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set a key of the YAML: KEY=VALUE; repeat for more."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Download in situ records over HTTP, and write an in situ CSV and a network file."""
    from mmnet_maps.jobs.stations import fetch_records

    found = fetch_records(network, years, region, out, config=config, settings=override or ())
    text = (
        f"{counted(found['stations'], 'station')}, {counted(found['rows'], 'row')}, "
        f"{counted(found['implausible'], 'implausible value')}; {counted(found['files'], 'file')}, "
        f"{found['fetched']:,} fetched\n{found['in_situ']}\n{found['network']}"
    )
    show(found, as_json, text)


@stations.command("predict")
def predict(
    bundle: Annotated[Path, typer.Option("--bundle", help="Trained model.")],
    table: Annotated[Path, typer.Option("--table", help="Station table of the same catalogue.")],
    out: Annotated[Path, typer.Option("--out", help="CSV to write: ID, Date, y_test, y_pred.")],
    as_json: Json = False,
) -> None:
    """Predict soil moisture for every row of a station table."""
    from mmnet_maps.jobs.models import predict_table

    summary = predict_table(bundle, table, out)
    without = summary["rows_without_prediction"]
    text = f"{counted(summary['rows'], 'row')} predicted" + (
        f", {without:,} without all inputs" if without else ""
    )
    show(summary, as_json, f"{text}; {summary['out']}\nnext: mmnet-maps evaluate {summary['out']}")


def _chosen(**options: str | None) -> list[str]:
    return [f"{name}={option}" for name, option in options.items() if option is not None]
