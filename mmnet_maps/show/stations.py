"""The stations of a validation as the map page shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mmnet_maps.errors import InputError, refuse_damaged
from mmnet_maps.grid import Grid, pixels_at
from mmnet_maps.store.csv_file import read_csv

__all__ = ["validated_stations"]


def validated_stations(grid: Grid, folder: Path) -> list[dict[str, Any]]:
    """Stations of a validation with their scores and measurements."""
    with refuse_damaged(folder, "not what `mmnet-maps validate` writes"):
        return _stations(grid, folder)


def _stations(grid: Grid, folder: Path) -> list[dict[str, Any]]:
    scores, pairs = (read_csv(folder / name, dtype={"ID": str}) for name in ("stations.csv", "pairs.csv"))
    if not {"Latitude", "Longitude"} <= set(scores.columns):
        raise InputError(
            f"{folder / 'stations.csv'}: no Latitude and Longitude; run `mmnet-maps validate` again"
        )
    row, col = pixels_at(grid, scores["Longitude"].to_numpy(), scores["Latitude"].to_numpy())
    by_day = {
        name: {
            str(station): {
                str(date): round(float(v), 5) for date, v in zip(part["Date"], part[name], strict=True)
            }
            for station, part in pairs.groupby("ID")
        }
        for name in ("y_test", "y_pred")
    }
    return [
        {
            "id": str(entry["ID"]),
            "longitude": float(entry["Longitude"]),
            "latitude": float(entry["Latitude"]),
            "row": int(row[k]),
            "col": int(col[k]),
            **{name: _number(entry[name]) for name in ("corr", "ubrmse", "bias")},
            "measured": by_day["y_test"].get(str(entry["ID"]), {}),
            "estimated": by_day["y_pred"].get(str(entry["ID"]), {}),
        }
        for k, entry in enumerate(scores.to_dict("records"))
        if row[k] >= 0
    ]


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else round(float(value), 5)
