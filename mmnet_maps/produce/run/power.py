"""Energy and emissions of a forecast, from a table that the user can replace."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mmnet_maps import presets
from mmnet_maps.config import Config
from mmnet_maps.errors import InputError
from mmnet_maps.produce.engine.processor import processor_kind

__all__ = ["Power", "read_power"]

_Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_OTHER = "other"


class Power(Config):
    """What workers use, and what their electricity emits.

    Attributes
    ----------
    watts : dict of str to float
        Watts of one core, by a part of `processor_kind`, or of a device, by its kind; ``other`` for all
        others.
    watts_per_gib : float
        Watts of a GiB of memory.
    overhead : float
        Energy of the whole centre for each unit that its machines use.
    grams_per_kwh : dict of str to float
        Grams of CO2 equivalent, by the name that ``--electricity`` gives.
    """

    watts: dict[str, _Positive]
    watts_per_gib: _Positive
    overhead: Annotated[float, Field(ge=1, allow_inf_nan=False)]
    grams_per_kwh: dict[str, _Positive]

    def energy_kwh(
        self, core_hours: float, worker_hours: float, memory_mib: float, device: str = "cpu"
    ) -> float:
        """Energy of workers.

        Parameters
        ----------
        core_hours : float
            Of cores, or devices, that compute.
        worker_hours : float
            Of workers that hold their memory.
        memory_mib : float
            Of one worker.
        device : str
            Kind of device; for ``cpu`` the processor of this machine counts.

        Raises
        ------
        InputError
            The table tells nothing of the processor or device.

        Examples
        --------
        >>> table = Power(watts={"other": 4.0}, watts_per_gib=0.5, overhead=1.2, grams_per_kwh={"world": 481})
        >>> round(table.energy_kwh(1000, 1000, 2048), 3)
        6.0
        """
        known = processor_kind() if device == "cpu" else device
        named = [watts for name, watts in self.watts.items() if name != _OTHER and name in known]
        if not named and _OTHER not in self.watts:
            raise InputError(f"table of power: watts: nothing of {known}; expected a part of it, or {_OTHER}")
        watts = named[0] if named else self.watts[_OTHER]
        held = worker_hours * self.watts_per_gib * memory_mib / 1024
        return (core_hours * watts + held) * self.overhead / 1000

    def co2_kg(self, energy_kwh: float, electricity: str) -> float:
        """Emissions of that energy, in kg of CO2 equivalent.

        Raises
        ------
        InputError
            The electricity is not in the table.
        """
        if electricity not in self.grams_per_kwh:
            raise InputError(
                f"--electricity {electricity}: not in the table; it has {', '.join(self.grams_per_kwh)}"
            )
        return energy_kwh * self.grams_per_kwh[electricity] / 1000


def read_power(path: Path | None = None) -> Power:
    """Read a table of power; the one of the package without a path.

    Raises
    ------
    InputError
        The file is missing, or a key or value does not fit.
    """
    if path is not None:
        return Power.load(path)
    with as_file(files(presets) / "power.yaml") as own:
        return Power.load(own)
