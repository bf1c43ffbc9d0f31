"""Raster files as a source: GeoTIFF, NetCDF, HDF5 (SMAP L4) and HDF4-EOS (MOD11A1)."""

from __future__ import annotations

from mmnet_maps.sources.rasters.files import unread
from mmnet_maps.sources.rasters.reader import RasterSource
from mmnet_maps.sources.rasters.scan import definitions_of, open_source

__all__ = ["RasterSource", "definitions_of", "open_source", "unread"]
