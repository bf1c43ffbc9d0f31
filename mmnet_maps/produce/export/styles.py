"""QGIS styles (``.qml``) beside the files of a day: QGIS applies one that has the file's name.

A raster of 32-bit integers can hold no colour table; the style of ``quality`` names every value that occurs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

import numpy as np

from mmnet_maps.produce.product.layers import Layer
from mmnet_maps.produce.tile.flags import NO_FLAG, colour_of, meaning_of

__all__ = ["quality_style", "value_style"]

_HEAD = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def value_style(layer: Layer, band: int = 1) -> str:
    """Style of a layer of values: its colours over its range, in its unit.

    Parameters
    ----------
    layer : Layer
        With colours.
    band : int
        Number of the band, from 1.
    """
    low, high = layer.colour_range
    root, renderer = _renderer("singlebandpseudocolor", band)
    renderer.set("classificationMin", f"{low:g}")
    renderer.set("classificationMax", f"{high:g}")
    shader = ElementTree.SubElement(ElementTree.SubElement(renderer, "rastershader"), "colorrampshader")
    attributes = {
        "colorRampType": "INTERPOLATED",
        "classificationMode": "1",
        "clip": "0",
        "minimumValue": f"{low:g}",
        "maximumValue": f"{high:g}",
    }
    for name, text in attributes.items():
        shader.set(name, text)
    for value, colour in zip(np.linspace(low, high, len(layer.colours)), layer.colours, strict=True):
        label = f"{value:.3g} {layer.units}"
        ElementTree.SubElement(shader, "item", value=f"{value:.6g}", label=label, color=colour, alpha="255")
    return _text(root)


def quality_style(values: Sequence[int], flags: Mapping[str, int]) -> str:
    """Style of ``quality``: an entry a value that occurs, in the colour of its first flag.

    Parameters
    ----------
    values : sequence of int
        Combinations of bits.
    flags : mapping of str to int
        Bits by meaning.
    """
    root, renderer = _renderer("paletted", 1)
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for value in sorted(values):
        words = "; ".join(meaning_of(name) for name, mask in flags.items() if value & mask) or NO_FLAG
        colour = colour_of(flags, value)
        ElementTree.SubElement(
            palette, "paletteEntry", value=str(value), label=words, color=colour, alpha="255"
        )
    return _text(root)


def _renderer(kind: str, band: int) -> tuple[ElementTree.Element, ElementTree.Element]:
    root = ElementTree.Element("qgis", version="3.28.0", styleCategories="Symbology")
    pipe = ElementTree.SubElement(root, "pipe")
    attributes = {"type": kind, "band": str(band), "opacity": "1", "alphaBand": "-1", "nodataColor": ""}
    return root, ElementTree.SubElement(pipe, "rasterrenderer", attributes)


def _text(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    return _HEAD + ElementTree.tostring(root, encoding="unicode") + "\n"
