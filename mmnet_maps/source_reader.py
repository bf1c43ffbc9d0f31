"""What fills a cube: a source on its own grid and days, and how a user describes one.

A `SourceReader` gives stored values (never decoded, never resampled) of any window of any range of its
days. Rasters on disk, Earth Engine and whatever comes later all look like this to the cube.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from mmnet_maps.config import Config
from mmnet_maps.dates import to_date
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.variables import NORMAL, VARIABLES, Cadence, Kind, Measure, Sensor, Variable, normal_of

__all__ = ["HttpConfig", "MaskConfig", "SourceConfig", "SourceReader", "VariableConfig", "defined"]


class SourceReader(Protocol):
    """One source: variables that share a native grid and its days.

    Attributes
    ----------
    name : str
        Name of the sub-group in the cube.
    grid : Grid
        The whole native grid.
    variables : mapping of str to Packing
        Storage of every variable, by catalogue name.
    definitions : mapping of str to Variable
        Unit, range and kind of every variable.
    cadence : {"static", "yearly", "daily", "irregular"}
        How often the source gives a field.
    days : ndarray of int64, shape (s,)
        Days since 1970-01-01, strictly increasing; empty for a static source. A yearly source has the first
        of January of each of its years.
    """

    @property
    def name(self) -> str:
        """Name of the sub-group in the cube."""
        ...

    @property
    def grid(self) -> Grid:
        """The whole native grid."""
        ...

    @property
    def variables(self) -> Mapping[str, Packing]:
        """Storage of every variable."""
        ...

    @property
    def definitions(self) -> Mapping[str, Variable]:
        """Meaning of every variable."""
        ...

    @property
    def cadence(self) -> Cadence:
        """How often the source gives a field."""
        ...

    @property
    def days(self) -> NDArray[np.int64]:
        """Days since 1970-01-01."""
        ...

    def read(self, first: int, last: int, rows: slice, cols: slice) -> dict[str, NDArray[Any]]:
        """Stored values of days ``first`` to ``last`` (exclusive) in a window of the grid.

        Returns
        -------
        dict of str to ndarray, shape (last - first, rows, columns)
            In the variable's stored type, its missing value where there is none. A static source has one
            step, 0 to 1.
        """
        ...

    def identity(self, first: int, last: int) -> str:
        """What the values of those days come from; it changes when an input is replaced."""
        ...


class VariableConfig(Config):
    """Where one variable of a source is found, and how its storage is to be read.

    Attributes
    ----------
    band : str or int, optional
        Band description or number (from 1), NetCDF variable or HDF5 dataset; by default the one that has the
        variable's name, or the only one.
    file : str, optional
        Text that replaces ``{variable}`` in the pattern; by default the variable's name.
    path, pattern : str, optional
        Where its files are, when not with the other variables of the source.
    scale, offset, missing : float, optional
        Storage, where the file does not say it or says it wrongly. Scale and offset lead to the unit of the
        variable.
    file_unit : str, optional
        Unit of the values in the files (after scale and offset), where they do not state it or state it
        wrongly.
    valid_range : tuple of float, optional
        In physical units: a value below or above becomes missing.
    decibel : bool
        The file holds linear power, the variable is its level: 10 times the decimal logarithm.
    smooth : int, optional
        Radius in pixels of the Gaussian kernel (standard deviation 1 pixel) that smooths each file, after
        masks and limits. A missing pixel takes no part and stays missing.
    mosaic : {"mean", "first"}, optional
        How several granules of one day are joined: by their mean, or by the first that has a value. Default:
        the mean for an amount, the first for a class or a direction.
    unit, kind, range, long_name, sensor, measure
        Declaration of a variable that the catalogue does not have.
    """

    band: str | int | None = None
    file: str | None = None
    path: str | tuple[str, ...] | None = None
    pattern: str | None = None
    scale: float | None = None
    offset: float | None = None
    missing: float | None = None
    file_unit: str | None = None
    valid_range: tuple[float, float] | None = None
    decibel: bool = False
    smooth: int | None = Field(None, ge=1)
    mosaic: Literal["mean", "first"] | None = None
    unit: str | None = None
    kind: Kind | None = None
    range: tuple[float, float] | None = None
    long_name: str | None = None
    sensor: Sensor | None = None
    measure: Measure | None = None


class MaskConfig(Config):
    """A band of bit flags: a value is kept where every bit of `clear_bits` is 0.

    Attributes
    ----------
    band : str or int, optional
        As in `VariableConfig`.
    file : str, optional
        Text that replaces ``{variable}`` in the pattern, when the flags are in separate files.
    clear_bits : tuple of int
        Bit numbers, 0 the lowest.
    """

    band: str | int | None = None
    file: str | None = None
    clear_bits: tuple[int, ...] = Field(min_length=1)


class HttpConfig(Config):
    """How archives are asked, the same for all sources of a job.

    Attributes
    ----------
    connections, requests_per_second : int, float
        Limits of the whole job.
    attempts : int
        How often a request is sent before the job gives up.
    first_wait_s, longest_wait_s : float
        Exponential back-off with jitter: about the first wait, doubled each time, never above the longest,
        which also bounds what a server asks for (``Retry-After``).
    timeout_s : float
        Of connecting, and of each silence.
    cache : str
        Folder, relative to the configuration, for the headers of files and for files that can only be read
        whole; it may be removed at any time.
    sign_url, login_url : str
        Where Planetary Computer signatures and Earthdata tokens come from.
    mirrors : dict of str to str
        Other addresses to ask: in an address that begins with a key, the value replaces the key. The longest
        key comes first. What is kept of a file is kept under its own address.
    """

    connections: int = Field(default=8, ge=1, le=64)
    requests_per_second: float = Field(default=20.0, gt=0)
    attempts: int = Field(default=6, ge=1)
    first_wait_s: float = Field(default=1.0, ge=0)
    longest_wait_s: float = Field(default=60.0, ge=0)
    timeout_s: float = Field(default=60.0, gt=0)
    cache: str = ".mmnet-maps"
    sign_url: str = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
    login_url: str = "https://urs.earthdata.nasa.gov"
    mirrors: dict[str, str] = Field(default_factory=dict)


class SourceConfig(Config):
    """One source of a cube.

    Attributes
    ----------
    kind : {"files", "stac", "http"}
        Files here; a search of a STAC API; a template of addresses.
    api : str, optional
        Address of a STAC API.
    query : dict
        Further conditions of a STAC search, by property.
    url : str, optional
        Address with ``{variable}`` (the variable's `file`) and ``{year}``.
    years : tuple of int
        For ``{year}``; by default those of the days asked for.
    sign : {"none", "planetary", "earthdata"}
        Credentials: signed links of the Planetary Computer, a bearer token of NASA Earthdata.
    listing : str, optional
        Listing that `fetch` wrote beside downloaded files: they are read instead of the archive.
    terrain : bool
        The source is an elevation alone; slope and aspect are computed from it on the target grid.
    reader : {"auto", "geotiff", "netcdf", "hdf5", "mod11a1"}
        File format; ``auto`` goes by the ending.
    path : str or tuple of str, optional
        A file, a folder, or several, relative to the configuration file.
    pattern : str, optional
        Regular expression that a file name must match. The variable's `file` replaces ``{variable}``, a key
        of `collections` replaces ``{collection}``, and a group ``(?P<date>...)`` holds the date.
    date_format : str, optional
        ``strptime`` format of the date; by default YYYYMMDD, YYYY-MM-DD, YYYYDDD or YYYY by its length.
    date : date, optional
        The day of files that do not name one.
    cadence : str, optional
        By default that of the first variable in the catalogue.
    crs : str, optional
        CRS of files that do not state one; where a file does, both must agree.
    mask : MaskConfig, optional
        Flags that make values missing.
    regrid : {"nearest", "bilinear", "average", "mode"}, optional
        Resample files to the target grid during the build; without it the native grid is kept. Missing and
        flagged values are left out first, on the pixels of the file. Classes take ``nearest`` or ``mode``;
        directions are averaged on the circle.
    collections : dict of str to dict of str to str, optional
        Several collections that feed the same variables, each with its own names (``{L30: {NIR: B05}, S30:
        {NIR: B8A}}``). For each variable, the text that replaces ``{variable}`` in the pattern. In a STAC
        search, the key of the asset, or a pattern of its file name.
    collection : str, optional
        Collection and version of the files, such as ``SPL4SMGP.008``. It is kept with the cube, and compared
        with the collection that a model was trained on.
    variables : dict of str to VariableConfig
        By catalogue name; a plain list of names is enough where no variable has settings.
    """

    kind: Literal["files", "stac", "http"] = "files"
    api: str | None = None
    query: dict[str, Any] = Field(default_factory=dict)
    url: str | None = None
    years: tuple[int, ...] = ()
    sign: Literal["none", "planetary", "earthdata"] = "none"
    listing: str | None = None
    terrain: bool = False
    reader: Literal["auto", "geotiff", "netcdf", "hdf5", "mod11a1"] = "auto"
    path: str | tuple[str, ...] | None = None
    pattern: str | None = None
    date_format: str | None = None
    date: dt.date | None = None
    cadence: Cadence | None = None
    crs: str | None = None
    mask: MaskConfig | None = None
    regrid: Literal["nearest", "bilinear", "average", "mode"] | None = None
    collections: dict[str, dict[str, str]] = Field(default_factory=dict)
    collection: str | None = None
    variables: dict[str, VariableConfig] = Field(min_length=1)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "stac" and not (self.api and self.collections):
            raise ValueError("kind stac needs api and collections")
        if self.kind == "http" and not self.url:
            raise ValueError("kind http needs url")
        return self

    @field_validator("variables", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {str(name): {} for name in value}
        if isinstance(value, dict):
            return {str(name): {} if keys is None else keys for name, keys in value.items()}
        return value

    @model_validator(mode="before")
    @classmethod
    def _variables_of_collections(cls, value: Any) -> Any:
        """Where collections name the variables, they need not be named again."""
        if (
            isinstance(value, dict)
            and "variables" not in value
            and isinstance(value.get("collections"), dict)
        ):
            tables = [names for names in value["collections"].values() if isinstance(names, dict)]
            return {**value, "variables": list(dict.fromkeys(name for names in tables for name in names))}
        return value

    @model_validator(mode="after")
    def _known_variables(self) -> Self:
        for collection, names in self.collections.items():
            for name in names:
                if name not in self.variables:
                    raise ValueError(
                        f"collections.{collection}.{name}: not among the variables of the source"
                    )
        return self

    @field_validator("date", mode="before")
    @classmethod
    def _plain_date(cls, value: Any) -> Any:
        return to_date(value) if isinstance(value, int | str) else value


def defined(name: str, config: VariableConfig, source: str, cadence: Cadence | None) -> Variable:
    """The catalogue's variable of that name, or the one that the configuration declares.

    ``{name}_normal`` is the climate normal of a daily variable of the catalogue.

    Raises
    ------
    InputError
        The name is not in the catalogue, and unit, kind and range are not all declared.
    """
    for variable in VARIABLES:
        if variable.name == name:
            return variable
        if variable.cadence == "daily" and f"{variable.name}{NORMAL}" == name:
            return normal_of(variable)
    if config.unit is None or config.kind is None or config.range is None:
        known = ", ".join(v.name for v in VARIABLES)
        raise InputError(
            f"sources.{source}.variables.{name}: not in the catalogue ({known}); declare unit, kind and range"
        )
    declared: dict[str, Any] = {"sensor": config.sensor, "measure": config.measure}
    return Variable(
        name=name,
        long_name=config.long_name or name,
        unit=config.unit,
        kind=config.kind,
        cadence=cadence or ("static" if config.kind == "constant" else "daily"),
        source=source,
        valid_range=config.range,
        **{key: value for key, value in declared.items() if value is not None},
    )
