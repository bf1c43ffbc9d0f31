"""Earth Engine: station tables and cubes straight from its catalog; the only place that imports `ee`."""
