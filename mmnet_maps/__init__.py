"""Daily high-resolution soil-moisture maps from MMNet."""

from importlib.metadata import version

__version__ = version("mmnet-maps")
