"""Series at points and polygons, and subsets: finished maps as tables and small data sets."""
