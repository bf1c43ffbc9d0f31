"""How each simulated source stores its values: as the real one does."""

from __future__ import annotations

from mmnet_maps.packing import Packing

__all__ = [
    "GRIDMET_NAMES",
    "HLS",
    "LAND_COVER",
    "LST",
    "MOISTURE",
    "SENTINEL1",
    "SMAP",
    "SOIL",
    "TERRAIN",
    "WEATHER",
]

HLS = Packing(dtype="int16", scale=1e-4, missing=-9999)
SENTINEL1 = Packing(dtype="int16", scale=0.01, missing=-32768)
SMAP = Packing(dtype="int16", scale=1e-4, missing=-9999)
LST = Packing(dtype="uint16", missing=0)
LAND_COVER = Packing(dtype="uint8", missing=0)
MOISTURE = Packing(dtype="int16", scale=1e-4, missing=-32768)
SOIL = {
    "clay": Packing(dtype="int16", scale=0.01, missing=-9999),
    "sand": Packing(dtype="int16", scale=0.01, missing=-9999),
    "bd": Packing(dtype="int16", scale=1e-3, missing=-9999),
}
TERRAIN = {name: Packing(dtype="float32", missing=-9999) for name in ("elevation", "slope", "aspect")}

#: As in gridMET's own files (uint16, 32767 for missing).
WEATHER = {
    "pr": Packing(dtype="uint16", scale=0.1, missing=32767),
    "eto": Packing(dtype="uint16", scale=0.1, missing=32767),
    "etr": Packing(dtype="uint16", scale=0.1, missing=32767),
    "sph": Packing(dtype="uint16", scale=1e-5, missing=32767),
    "srad": Packing(dtype="uint16", scale=0.1, missing=32767),
    "vpd": Packing(dtype="uint16", scale=0.01, missing=32767),
    "vs": Packing(dtype="uint16", scale=0.1, missing=32767),
}
#: Name and unit of the variable inside a gridMET file.
GRIDMET_NAMES = {
    "pr": ("precipitation_amount", "mm"),
    "eto": ("potential_evapotranspiration", "mm"),
    "etr": ("potential_evapotranspiration", "mm"),
    "sph": ("specific_humidity", "kg/kg"),
    "srad": ("surface_downwelling_shortwave_flux_in_air", "W m-2"),
    "vpd": ("mean_vapor_pressure_deficit", "kPa"),
    "vs": ("wind_speed", "m/s"),
}
