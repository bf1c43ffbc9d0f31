"""Raw station tables and ground truth to the table that models train on.

The arithmetic of filled values and features is that of `gap_fill` and `features`, which maps use too. Every
step works on dense (day, station) arrays or on whole columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.catalogue import LAND_COVER_CLASSES, Catalogue, published_catalogue
from mmnet_maps.dates import NO_DAY, day_of_year, from_yyyymmdd, year_of
from mmnet_maps.errors import InputError, suggestion
from mmnet_maps.prepare.features import write_features
from mmnet_maps.prepare.stations.days import (
    Axes,
    constants_of,
    daily_values,
    find_table,
    land_cover_of,
    refuse_another_unit,
    screen_reflectance,
    without_fill_values,
)
from mmnet_maps.prepare.stations.fill import (
    bridge_gaps,
    enough_observations,
    fill_days,
    latest_day,
    note_age,
    series_channels,
    whole_windows,
)
from mmnet_maps.prepare.stations.report import Selection, TableReport
from mmnet_maps.prepare.stations.settings import StationTableConfig

__all__ = ["StationTable", "build_station_table"]

Dense = NDArray[np.float32]
Flags = NDArray[np.bool_]
Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class StationTable:
    """A station table with what gives it meaning.

    Attributes
    ----------
    frame : DataFrame
        A row a station and day, sorted by both.
    catalogue : Catalogue
        Of its columns; goes into the file with it.
    report : TableReport
        What was left out and why.
    """

    frame: pd.DataFrame
    catalogue: Catalogue
    report: TableReport


def build_station_table(
    tables: Tables,
    in_situ: pd.DataFrame,
    network: pd.DataFrame,
    config: StationTableConfig | None = None,
    catalogue: Catalogue | None = None,
) -> StationTable:
    """Make the station table.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Observations under any names, each with ID and variables of the catalogue, and with Date (YYYYMMDD) if
        they change by the day, Year if by the year, neither if never.
    in_situ : DataFrame
        ID, Network, Latitude, Longitude, Date (YYYYMMDD), and the target of the catalogue, such as VWC_5.
    network : DataFrame
        ID, Domain; columns Climate and State go into the table if they are there.
    config : StationTableConfig, optional
    catalogue : Catalogue, optional
        By default the published one. Nothing is asked for that is not in it.

    Raises
    ------
    InputError
        A table, a station or a variable that is needed is missing, or no row is left.
    """
    config = config or StationTableConfig()
    catalogue = config.applied_to(catalogue or published_catalogue())
    report = TableReport(rows_read=len(in_situ), stations_read=in_situ["ID"].nunique())
    truth = _truth(in_situ, config, catalogue, report)
    stations = _stations(truth, network)
    axes = _axes(truth, tables, catalogue)
    rows = _Rows(
        from_yyyymmdd(truth["Date"].to_numpy()) - axes.first,
        axes.stations(truth["ID"]),
        year_of(from_yyyymmdd(truth["Date"].to_numpy())),
    )
    selection = Selection(rows.station)
    raw: dict[str, Dense] = {
        "DoY": day_of_year(rows.day + axes.first).astype(np.float32),
        **{name: truth[name].to_numpy(dtype=np.float32) for name in ("Latitude", "Longitude")},
    }
    _use_land_cover(tables, catalogue, axes, rows, selection, raw)
    _use_ground_truth(truth[catalogue.target.name].isna().to_numpy(), rows, config, selection)
    for name, values in constants_of(tables, _held(tables, catalogue, "static"), axes).items():
        raw[name] = values[rows.station]
    days = _fill_daily(tables, catalogue, config, axes, rows, selection, report)
    raw.update(days.raw)
    features = _features(catalogue, raw, selection)
    for name in catalogue.series:
        whole = whole_windows(days.series[name], catalogue.lags)
        selection.leave_out(~whole[rows.day, rows.station], f"window of {name} incomplete")
    _conclude(report, selection, axes, days.filled)
    return StationTable(
        _frame(truth, stations, axes, rows, selection.kept, catalogue, raw, features, days), catalogue, report
    )


@dataclass(frozen=True)
class _Rows:
    """Where the rows of the ground truth stand in dense arrays: day, station and calendar year of each."""

    day: NDArray[np.int64]
    station: NDArray[np.int64]
    year: NDArray[np.int64]


@dataclass(frozen=True)
class _Days:
    """Daily variables after gap filling.

    Attributes
    ----------
    raw : dict of str to ndarray of float32, shape (rows,)
        Values of the day of each row.
    series : dict of str to ndarray of float32, shape (days, stations)
        Variables and soil-state channels that the table holds lagged.
    ages : dict of str to ndarray of int16, shape (rows,)
        Further columns: ages and gap lengths of filled values, days of the window that were filled, and
        ``fill_ahead``: how many days after its own the latest observation lies that a row rests on.
    filled : dict of str to ndarray of bool, shape (rows,)
        Rows in which the value of the day was filled.
    """

    raw: dict[str, Dense]
    series: dict[str, Dense]
    ages: dict[str, NDArray[np.int16]]
    filled: dict[str, Flags]


def _truth(
    in_situ: pd.DataFrame, config: StationTableConfig, catalogue: Catalogue, report: TableReport
) -> pd.DataFrame:
    """One row a station and day of the networks used, sorted by both."""
    truth = in_situ
    if config.networks:
        used = in_situ["Network"].isin(config.networks)
        if not used.any():
            found = ", ".join(sorted(set(in_situ["Network"].astype(str)))[:8])
            raise InputError(f"no station of {', '.join(config.networks)} in the ground truth; found {found}")
        truth = in_situ[used]
        report.left_out["network not used"] = int((~used).sum())
    if (from_yyyymmdd(truth["Date"].to_numpy()) == NO_DAY).any():
        raise InputError("the ground truth holds a Date that is not YYYYMMDD")
    target, (low, high) = catalogue.target.name, catalogue.target.valid_range
    if target not in truth.columns:
        raise InputError(f"the ground truth has no column {target}; found {', '.join(truth.columns)}")
    moisture = truth[target].astype(np.float64)
    impossible = (moisture < low) | (moisture > high)
    report.screened[target] = int(impossible.sum())
    truth = truth.assign(ID=truth["ID"].astype(str))
    truth[target] = moisture.mask(impossible)
    twice = int(truth.duplicated(["ID", "Date"]).sum())
    if twice:
        report.averaged["ground truth"] = report.left_out["averaged into another row of the day"] = twice
        how = {"Network": "first", "Latitude": "first", "Longitude": "first", target: "mean"}
        truth = truth.groupby(["ID", "Date"], as_index=False, sort=False).agg(how)
    return truth.sort_values(["ID", "Date"], kind="stable").reset_index(drop=True)


def _stations(truth: pd.DataFrame, network: pd.DataFrame) -> pd.DataFrame:
    """What the network says of each station of the ground truth, by id."""
    known = network.drop_duplicates("ID").set_index("ID")
    ids = pd.Index(truth["ID"].unique())
    unknown = ids.difference(known.index)
    if len(unknown):
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise InputError(
            f"station {', '.join(unknown[:3])}{more} of the ground truth is not in the network, "
            f"whose ids are like {known.index[0]}{suggestion(unknown[0], known.index)}"
        )
    if "Domain" not in known.columns:
        raise InputError(f"the network has no column Domain; found {', '.join(known.columns)}")
    columns = ["Domain", *(name for name in ("Climate", "State") if name in known.columns)]
    return known.reindex(index=ids, columns=columns)


def _axes(truth: pd.DataFrame, tables: Tables, catalogue: Catalogue) -> Axes:
    daily = {name: table["Date"].to_numpy() for name, table in tables.items() if "Date" in table.columns}
    for name, dates in daily.items():
        bad = from_yyyymmdd(dates) == NO_DAY
        if bad.any():
            raise InputError(f"table {name}: Date {dates[bad][0]} is not a date YYYYMMDD")
    dates_of_all = [truth["Date"].to_numpy(), *daily.values()]
    axes = Axes.spanning(truth["ID"].unique(), dates_of_all, catalogue.history_days)
    for name, table in tables.items():
        if len(table) and not (axes.stations(table["ID"]) >= 0).any():
            raise InputError(
                f"table {name} has no station of the ground truth: its ids are like {table['ID'].iloc[0]}, "
                f"those of the ground truth like {axes.ids[0]}"
            )
    return axes


def _held(tables: Tables, catalogue: Catalogue, *cadences: str) -> list[str]:
    """Variables of these cadences that the tables hold; one that the model needs must be there."""
    names = []
    for variable in catalogue.variables:
        if variable.cadence not in cadences or variable.kind == "target" or variable.source == "place":
            continue
        key = {"static": None, "yearly": "Year"}.get(variable.cadence, "Date")
        if find_table(tables, variable.name, key) is not None:
            names.append(variable.name)
        elif variable.name in catalogue.required:
            raise InputError(f"no table holds {variable.name} by {key or 'station'}, which the model needs")
    return names


def _use_land_cover(
    tables: Tables,
    catalogue: Catalogue,
    axes: Axes,
    rows: _Rows,
    selection: Selection,
    raw: dict[str, Dense],
) -> None:
    if "LC" not in catalogue.required:
        return
    _held(tables, catalogue, "yearly")
    table = find_table(tables, "LC", "Year")
    assert table is not None
    years, index = np.unique(rows.year, return_inverse=True)
    classes = land_cover_of(table, axes, years)[index, rows.station]
    raw["LC"] = classes.astype(np.float32)
    selection.leave_out(classes < 0, "land cover missing or of no class")


def _use_ground_truth(missing: Flags, rows: _Rows, config: StationTableConfig, selection: Selection) -> None:
    kept = selection.kept
    count = np.bincount(rows.station[kept], minlength=int(rows.station.max()) + 1)
    gone = np.bincount(rows.station[kept & missing], minlength=len(count))
    poor = (gone >= config.vwc_missing_share * count) & (gone > 0)
    share = f"{config.vwc_missing_share:.0%}"
    selection.leave_out(poor[rows.station], f"station lacks soil moisture in {share} of its rows or more")
    selection.leave_out(missing, "soil moisture missing")


def _fill_daily(
    tables: Tables,
    catalogue: Catalogue,
    config: StationTableConfig,
    axes: Axes,
    rows: _Rows,
    selection: Selection,
    report: TableReport,
) -> _Days:
    """Fill every variable that changes by the day, one at a time."""
    out = _Days({}, {}, {}, {})
    listed = np.zeros(axes.shape, dtype=bool)
    listed[rows.day[selection.kept], rows.station[selection.kept]] = True
    bridged = np.zeros(axes.shape, dtype=bool)
    latest = np.broadcast_to(axes.days[:, None], axes.shape)
    weather: dict[str, Dense] = {}
    for name, observed in _observed(tables, catalogue, axes, report):
        variable = catalogue[name]
        if variable.fill == "none":
            values, ahead = observed, np.zeros(1, dtype=np.int32)
            if config.window_missing == "fill" and name in catalogue.series_inputs:
                causal = config.fill == "past"
                values, ahead = bridge_gaps(observed, axes.days, config.window_gap, causal=causal)
                bridged |= np.isnan(observed) & ~np.isnan(values)
        else:
            enough = enough_observations(observed, listed, variable.min_share)
            filled = fill_days(observed, axes.days, variable, enough)
            values, ahead = filled.values, filled.ahead
            if name in catalogue.required:
                few = f"{name} observed in {variable.min_share:.0%} of the station's rows or less"
                selection.leave_out(~enough[rows.station] & np.isnan(values[rows.day, rows.station]), few)
                note_age(out.ages, f"{variable.source}_age", filled.age[rows.day, rows.station])
            if variable.sensor == "smap":
                out.ages["smap_gap"] = filled.gap[rows.day, rows.station].astype(np.int16)
        out.raw[name] = values[rows.day, rows.station]
        out.filled[name] = (np.isnan(observed) & ~np.isnan(values))[rows.day, rows.station]
        if name in catalogue.required and ahead.any():
            latest = np.maximum(
                latest, latest_day(axes.days, ahead, in_window=name in catalogue.series_inputs)
            )
        if name in catalogue.series_inputs:
            weather[name] = values
        if name in catalogue.series or name == "SMAP":
            out.series[name] = values
    out.ages["fill_ahead"] = (latest - axes.days[:, None])[rows.day, rows.station].astype(np.int16)
    out.series.update(series_channels(catalogue, weather))
    if config.window_missing == "fill":
        count = sum(bridged[rows.day - lag, rows.station].astype(np.int16) for lag in catalogue.lags)
        out.ages["window_filled"] = np.asarray(count, dtype=np.int16)
    return out


def _observed(
    tables: Tables, catalogue: Catalogue, axes: Axes, report: TableReport
) -> Iterator[tuple[str, Dense]]:
    """Dense observations of every daily variable, table by table."""
    wanted = _held(tables, catalogue, "daily", "irregular")
    for title, table in tables.items():
        names = [n for n in wanted if find_table(tables, n, "Date") is table]
        if not names:
            continue
        # Before the screening, which would take reflectances of another scale for unusable ones.
        refuse_another_unit(title, without_fill_values(table, names, catalogue)[0], names, catalogue)
        clean, blanked = screen_reflectance(table, catalogue)
        if blanked:
            report.screened[f"{title} granules"] = blanked
        clean, filled = without_fill_values(clean, names, catalogue)
        report.screened |= filled
        values, extra = daily_values(clean, names, axes)
        if extra:
            report.averaged[title] = extra
        for name in names:
            low, high = catalogue[name].valid_range
            beyond = int(((values[name] < low) | (values[name] > high)).sum())
            if beyond and name in catalogue.required:
                report.unlikely[name] = beyond
            yield name, values[name]


def _features(catalogue: Catalogue, raw: dict[str, Dense], selection: Selection) -> Dense:
    """Snapshot features, shape (features, rows); rows without one of them are left out."""
    for name in catalogue.required:
        selection.leave_out(np.isnan(raw[name]), f"{name} missing")
    out = np.empty((len(catalogue.snapshot), len(raw["DoY"])), dtype=np.float32)
    write_features(catalogue.snapshot, raw, out)
    for name, values in zip(catalogue.snapshot, out, strict=True):
        selection.leave_out(~np.isfinite(values), f"{name} undefined")
    return out


def _conclude(report: TableReport, selection: Selection, axes: Axes, filled: dict[str, Flags]) -> None:
    kept = selection.kept
    report.left_out.update(selection.counts())
    if not kept.any():
        reasons = ", ".join(f"{count} {why}" for why, count in report.left_out.items() if count)
        raise InputError(f"no row is left for the station table; rows left out: {reasons}")
    report.stations_left_out = selection.stations_left_out(axes.ids)
    report.rows = int(kept.sum())
    report.stations = len(axes.ids) - len(report.stations_left_out)
    report.filled = {name: float(rows[kept].mean()) for name, rows in filled.items()}


def _frame(
    truth: pd.DataFrame,
    stations: pd.DataFrame,
    axes: Axes,
    rows: _Rows,
    kept: Flags,
    catalogue: Catalogue,
    raw: dict[str, Dense],
    features: Dense,
    days: _Days,
) -> pd.DataFrame:
    """The rows that are left, columns in the order of the published table, then lags, then ages."""
    columns: dict[str, object] = {
        name: truth[name].to_numpy()[kept] for name in ("ID", "Network", "Latitude", "Longitude", "Date")
    }
    columns["Year"] = rows.year[kept]
    ids = pd.Index(axes.ids)
    for name in stations.columns:
        columns[name] = stations[name].reindex(ids).to_numpy()[rows.station[kept]]
    columns[catalogue.target.name] = truth[catalogue.target.name].to_numpy()[kept]
    for variable in catalogue.variables:
        if variable.name in raw and variable.name not in columns:
            columns[variable.name] = raw[variable.name][kept]
    if "LC" in columns:
        columns["LC"] = cover = raw["LC"][kept].astype(np.int8)
        columns["LC_name"] = np.array([*LAND_COVER_CLASSES, None], dtype=object)[cover]
    columns["DoY"] = raw["DoY"][kept].astype(np.int16)
    for name, values in zip(catalogue.snapshot, features, strict=True):
        columns.setdefault(name, values[kept])
    cell = (rows.day * len(axes.ids) + rows.station)[kept]
    for name, values in days.series.items():
        for lag in catalogue.lags:
            column = f"{name}_{lag}" if lag else name
            if column not in columns:
                columns[column] = values.ravel().take(cell - lag * len(axes.ids))
    columns.update({name: values[kept] for name, values in days.ages.items()})
    return pd.DataFrame(columns, copy=False)
