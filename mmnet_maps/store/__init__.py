"""The one door to storage: files and folders that appear whole, one writer at a time, Zarr groups."""
