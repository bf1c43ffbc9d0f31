"""Earth Engine: station tables and cubes straight from its catalog; the only place that imports `ee`."""

from mmnet_maps.errors import needs_extra

with needs_extra("ee", "Earth Engine"):
    import ee  # noqa: F401
