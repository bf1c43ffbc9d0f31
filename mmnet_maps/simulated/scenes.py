"""What satellites with fine pixels see of the truth: Landsat-like reflectance and radar backscatter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mmnet_maps.simulated.fields import correlated_field
from mmnet_maps.simulated.instruments import Clouds
from mmnet_maps.simulated.landscape import Landscape
from mmnet_maps.simulated.plants import PLANTS
from mmnet_maps.simulated.water_balance import WaterBalance

__all__ = ["BANDS", "OpticalImager", "Radar"]

Array = NDArray[np.float32]

BANDS = ("Blue", "Green", "Red", "NIR", "SWIR1", "SWIR2")
#: Reflectance of dry sand, dry clay, straw, snow and roofs in these bands.
_SAND = (0.14, 0.20, 0.27, 0.35, 0.44, 0.41)
_CLAY = (0.08, 0.12, 0.16, 0.22, 0.29, 0.25)
_STRAW = (0.09, 0.14, 0.19, 0.29, 0.34, 0.26)
_SNOW = (0.88, 0.90, 0.88, 0.80, 0.13, 0.10)
_ROOF = (0.12, 0.14, 0.16, 0.22, 0.25, 0.22)
#: How strongly water darkens soil, per unit of saturation (exponent).
_DARKENING = (0.85, 0.90, 0.95, 0.95, 1.15, 1.40)
#: Radar: (soil at zero moisture, dB; gain of moisture, dB per m3 m-3; closed canopy, linear; share of the
#: surface's roughness), and the ranges outside which the method masks a pixel.
_RADAR = {"VV": (-18.2, 26.0, 0.125, 1.0), "VH": (-25.8, 15.0, 0.034, 0.8)}
_RADAR_LIMITS = {"VV": (-20.0, -5.0), "VH": (-30.0, -10.0)}


class OpticalImager:
    """Surface reflectance of six bands at 30 m, masked under clouds and their shadows.

    A pixel is green cover, straw, soil and snow side by side. Wet soil is darker, and a canopy short of water
    is brighter in the short-wave infrared.
    """

    def __init__(self, rng: np.random.Generator, landscape: Landscape) -> None:
        self._rng, cover, soil = rng, landscape.cover, landscape.soil
        self._step = abs(landscape.grid.transform[0])
        self._plant, self._land = cover.plant, cover.land
        self._sand = np.clip((soil.sand - 10.0) / 70.0, 0.0, 1.0).astype(np.float32)
        self._per_pore = (1.0 / (1.0 - soil.bd / 2.65)).astype(np.float32)
        self._straw = cover.table({n: 0.65 * (p.green[1] - p.green[0]) for n, p in PLANTS.items()})
        self._roof = cover.table({n: 0.45 if n == "developed" else 0.0 for n in PLANTS})
        texture = correlated_field(rng, landscape.grid.shape, self._step, 300.0, slope=1.0)
        slope, aspect = np.radians(landscape.terrain.slope), np.radians(landscape.terrain.aspect)
        # What topographic correction leaves of the light from the south-east.
        shade = 0.3 * np.sin(slope) * np.cos(aspect - np.radians(135.0))
        self._brightness = ((1.0 + 0.03 * texture) * (1.0 + shade)).astype(np.float32)

    def reflectance(self, balance: WaterBalance) -> Array:
        """Reflectance without clouds and noise, shape (6, rows, cols)."""
        green = balance.green
        straw = np.maximum(self._straw - np.float32(0.75) * green, 0) * (1 - green)
        bare = np.maximum(1 - green - straw - self._roof, 0)
        wet = np.where(self._land, balance.moisture, 0) * self._per_pore
        snowy = 1 - np.exp(balance.snow * np.float32(-1 / 8)) if balance.snow.any() else None
        out = np.empty((len(BANDS), *green.shape), dtype=np.float32)
        for i, band in enumerate(out):
            soil = _CLAY[i] + np.float32(_SAND[i] - _CLAY[i]) * self._sand
            soil *= np.exp(wet * np.float32(-_DARKENING[i]))
            leaf = np.array([p.spectrum[i] for p in PLANTS.values()], dtype=np.float32)[self._plant]
            if BANDS[i].startswith("SWIR"):
                leaf *= 1 + np.float32(0.35) * (1 - balance.stress)
            np.multiply(soil, bare, out=band)
            band += leaf * green + straw * np.float32(_STRAW[i]) + self._roof * np.float32(_ROOF[i])
            band *= self._brightness
            np.copyto(band, np.float32(PLANTS["water"].spectrum[i]), where=~self._land)
            if snowy is not None:
                band += snowy * (np.float32(_SNOW[i]) - band)
        return out

    def see(self, balance: WaterBalance, clouds: Clouds) -> Array | None:
        """Scene, shape (6, rows, cols), NaN under clouds; None where clouds leave less than a twentieth."""
        hidden = clouds.mask()
        if hidden.mean() > 0.95:
            return None
        seen = self.reflectance(balance)
        haze = np.float32(0.004 * abs(self._rng.standard_normal()))
        for band, share in zip(seen, (1.0, 0.7, 0.5, 0.2, 0.1, 0.05), strict=True):
            band += haze * np.float32(share)
            band += self._rng.standard_normal(band.shape, dtype=np.float32) * np.float32(0.003)
        np.clip(seen, 0.001, 1.0, out=seen)
        seen[:, hidden] = np.nan
        return seen


class Radar:
    """Backscatter at C band, VV and VH, by the water cloud model (Attema and Ulaby 1978).

    Soil brightens with moisture and roughness, canopy hides it and scatters by itself; slopes that face the
    radar are brighter. Speckle is that of many looks, smoothed.

    Attributes
    ----------
    angle : ndarray of float32
        Incidence angle on level ground, degree.
    """

    def __init__(self, rng: np.random.Generator, landscape: Landscape) -> None:
        self._rng, cover, shape = rng, landscape.cover, landscape.grid.shape
        step = abs(landscape.grid.transform[0])
        self._land = cover.land
        across = (np.arange(shape[1]) - shape[1] / 2) * step / 1_000.0
        near = float(rng.uniform(35.0, 42.0))
        self.angle = np.broadcast_to((near + 0.06 * across).astype(np.float32), shape)
        rough = cover.table({n: p.roughness for n, p in PLANTS.items()})
        rough += 0.7 * correlated_field(rng, shape, step, 1_000.0, 60.0, slope=1.2)
        slope, aspect = landscape.terrain.slope, np.radians(landscape.terrain.aspect)
        # Looking east: west-facing slopes turn to the radar.
        facing = 0.10 * np.clip(slope, 0, 20) * -np.sin(aspect)
        self._static = (rough + facing - 0.10 * (self.angle - 39.0)).astype(np.float32)
        self._canopy = cover.table({n: p.water / max(p.green[1], 0.01) for n, p in PLANTS.items()})

    def backscatter(self, balance: WaterBalance) -> Array:
        """VV and VH in dB without speckle, shape (2, rows, cols)."""
        moisture = np.where(self._land, balance.moisture, np.float32(0))
        thickness = self._canopy * balance.green / np.cos(np.radians(self.angle))
        passed = np.exp(thickness * np.float32(-0.2))
        out = np.empty((2, *moisture.shape), dtype=np.float32)
        for band, (dry, gain, canopy, rough) in zip(out, _RADAR.values(), strict=True):
            soil = np.float32(dry) + np.float32(gain) * moisture + np.float32(rough) * self._static
            power = np.exp(soil * np.float32(np.log(10) / 10)) * passed + np.float32(canopy) * (1 - passed)
            np.multiply(np.log10(power), 10, out=band)
        return out

    def see(self, balance: WaterBalance) -> Array:
        """Scene in dB, shape (2, rows, cols); NaN outside the ranges that the method keeps."""
        seen = self.backscatter(balance)
        for band, (low, high) in zip(seen, _RADAR_LIMITS.values(), strict=True):
            speckle = ndimage.gaussian_filter(
                self._rng.standard_normal(band.shape, dtype=np.float32), 0.7, mode="wrap"
            )
            # Smoothing with 0.7 pixels leaves 0.40 of the deviation; what stands for 0.6 dB is scaled to it.
            band += np.float32(0.6 / 0.40) * speckle
            # A limit itself is outside, also after rounding to the stored step.
            band[(band <= low + 0.01) | (band >= high - 0.01)] = np.nan
        return seen
