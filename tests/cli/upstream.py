"""A simulated region as archives hand out its inputs: their file names, forms and units."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import rasterio
from pyproj import CRS

HLS = ("B02", "B03", "B04", "B05", "B06", "B07")
#: The last fields that are taken of sources with one a day, and of scenes: what maps of two days rest on.
_DAYS, _SCENES = 14, 3


def write_upstream(rasters: Path, out: Path) -> None:
    """Write a folder a source, as the door ``files`` wants them, and what else archives serve."""
    for path in _last(rasters / "hls", _SCENES):
        stem = f"HLS.L30.T14SNF.{_day(path):%Y%j}T171919.v2.0"
        for k, band in enumerate(HLS):
            _band(path, k + 1, out / f"hls/{stem}.{band}.tif")
        clear = np.full(_shape(path), 64, np.uint8)
        _band(path, 1, out / f"hls/{stem}.Fmask.tif", clear, nodata=255)
    for path in _last(rasters / "sentinel1", _SCENES):
        stem = f"OPERA_L2_RTC-S1_T107-227690-IW2_{_day(path):%Y%m%d}T003113Z_20200522T000000Z_S1A_30_v1.0"
        with rasterio.open(path) as file:
            for k, name in enumerate(("VV", "VH")):
                level = file.read(k + 1, masked=True) * file.scales[k]
                power = (10 ** (level / 10)).filled(np.nan).astype(np.float32)
                _band(path, k + 1, out / f"sentinel1/{stem}_{name}.tif", power, nodata=np.nan)
    for path in _last(rasters / "smap", _DAYS):
        _granule(path, out / f"smap/SMAP_L4_SM_gph_{_day(path):%Y%m%d}T013000_Vv8010_001.h5")
    for path in _last(rasters / "modis", _DAYS):
        _mod11a1(path, out / f"modis/MOD11A1.A{_day(path):%Y%j}.h10v05.061.2020155010203.hdf")
        stem = f"MOD11A1.A{_day(path):%Y%j}.h10v05.061"
        _band(path, 1, out / f"modis_tif/{stem}_LST_Day_1km.tif")
        _band(path, 1, out / f"modis_tif/{stem}_QC_Day.tif", np.zeros(_shape(path), np.uint8), nodata=255)
    (out / "gridmet").mkdir(parents=True)
    for path in (rasters / "gridmet").glob("*_2020.nc"):
        shutil.copy(path, out / "gridmet" / path.name.replace("eto_", "pet_"))
    dem = _band(rasters / "terrain/elevation.tif", 1, out / "terrain/USGS_13_n37w099.tif")
    _vrt(out / "terrain/USGS_Seamless_DEM_13.vrt", dem)
    for name in ("clay", "sand", "bd"):
        tile = _band(rasters / f"soil/{name}.tif", 1, out / f"soil/tiles/{name}.tif")
        _vrt(out / f"soil/{name}_mean_0_5.vrt", tile)
    *_, cover = sorted((rasters / "landcover").glob("LC_*.tif"))
    (out / "landcover").mkdir()
    with zipfile.ZipFile(out / "landcover/Annual_NLCD_LndCov_2020_CU_C1V0.zip", "w") as packed:
        packed.write(cover, "Annual_NLCD_LndCov_2020_CU_C1V0.tif")


def _last(folder: Path, count: int) -> list[Path]:
    return sorted(folder.glob("*.tif"))[-count:]


def _day(path: Path) -> dt.date:
    return dt.datetime.strptime(path.stem.rsplit("_", 1)[-1], "%Y%m%d").date()


def _shape(path: Path) -> tuple[int, int]:
    with rasterio.open(path) as file:
        return file.height, file.width


def _band(source: Path, index: int, out: Path, values: Any = None, **profile: Any) -> Path:
    """One band of a raster as a file of its own, or other values on its pixels."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(source) as file:
        stored = file.read(index) if values is None else values
        kept = {**file.profile, "count": 1, "dtype": stored.dtype, "nodata": file.nodata, **profile}
        with rasterio.open(out, "w", **kept) as made:
            made.write(stored, 1)
            if values is None:
                made.scales, made.offsets = (file.scales[index - 1],), (file.offsets[index - 1],)
    return out


def _vrt(path: Path, tile: Path) -> None:
    with rasterio.open(tile) as file:
        a, _, c, _, e, f = tuple(file.transform)[:6]
        kind = {"uint16": "UInt16", "int16": "Int16", "uint8": "Byte", "float32": "Float32"}[file.dtypes[0]]
        path.write_text(
            f'<VRTDataset rasterXSize="{file.width}" rasterYSize="{file.height}">'
            f"<SRS>{CRS.from_wkt(file.crs.to_wkt()).to_string()}</SRS>"
            f"<GeoTransform>{c}, {a}, 0, {f}, 0, {e}</GeoTransform>"
            f'<VRTRasterBand dataType="{kind}" band="1"><NoDataValue>{file.nodata}</NoDataValue>'
            f"<Scale>{file.scales[0]}</Scale><SimpleSource>"
            f'<SourceFilename relativeToVRT="1">{os.path.relpath(tile, path.parent)}</SourceFilename>'
            "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
        )


def _granule(source: Path, out: Path) -> None:
    """A field of SMAP in the layout of SPL4SMGP."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(source) as file, h5py.File(out, "w") as made:
        values = (file.read(1, masked=True) * np.float32(file.scales[0])).filled(-9999).astype(np.float32)
        a, e, c, f = file.transform.a, file.transform.e, file.transform.c, file.transform.f
        made["x"] = c + (np.arange(-2, file.width + 2) + 0.5) * a
        made["y"] = f + (np.arange(-2, file.height + 2) + 0.5) * e
        wide = np.pad(values, 2, constant_values=-9999)
        data = made.create_dataset("Geophysical_Data/sm_surface", data=wide)
        data.attrs["_FillValue"], data.attrs["units"] = np.float32(-9999), b"m3 m-3"
        place = made.create_dataset("EASE2_global_projection", data=0)
        place.attrs["grid_mapping_name"] = "lambert_cylindrical_equal_area"
        place.attrs["standard_parallel"], place.attrs["longitude_of_central_meridian"] = 30.0, 0.0


def _mod11a1(source: Path, out: Path) -> None:
    """A field of surface temperature in the layout of MOD11A1."""
    from pyhdf.SD import SD, SDC

    out.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(source) as file:
        values, (height, width), place = file.read(1), file.shape, file.transform
    made = SD(str(out), SDC.WRITE | SDC.CREATE)
    made.attr("StructMetadata.0").set(
        SDC.CHAR,
        f"GROUP=GridStructure\n\t\tXDim={width}\n\t\tYDim={height}\n"
        f"\t\tUpperLeftPointMtrs=({place.c:.6f},{place.f:.6f})\n"
        f"\t\tLowerRightMtrs=({place.c + width * place.a:.6f},{place.f + height * place.e:.6f})\n"
        "\t\tProjection=GCTP_SNSOID\n\t\tProjParams=(6371007.181000,0,0,0,0,0,0,0,0,0,0,0,0)\n",
    )
    for name, kind, stored in (
        ("LST_Day_1km", SDC.UINT16, values.astype("uint16")),
        ("QC_Day", SDC.UINT8, np.zeros((height, width), "uint8")),
    ):
        layer = made.create(name, kind, (height, width))
        layer[:] = stored
        if name == "LST_Day_1km":
            layer.attr("_FillValue").set(SDC.UINT16, 0)
            layer.attr("scale_factor").set(SDC.FLOAT64, 0.02)
            layer.attr("units").set(SDC.CHAR, "K")
        layer.endaccess()
    made.end()
