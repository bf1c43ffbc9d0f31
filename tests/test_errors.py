"""Errors at the opening of what the program wrote itself."""

from __future__ import annotations

import pytest

from mmnet_maps.errors import InputError, WorkError, refuse_damaged


@pytest.mark.parametrize(
    "error", [WorkError("s3://b/k: the store cannot be reached"), PermissionError(13, "no")]
)
def test_storage_that_fails_or_denies_is_no_damage(error: Exception) -> None:
    with pytest.raises(type(error)) as told, refuse_damaged("p.zarr", "no product"):
        raise error
    assert told.value is error


@pytest.mark.parametrize("error", [KeyError("layout"), ZeroDivisionError(), IndexError("axis")])
def test_any_other_surprise_is_one_line_that_names_what_was_opened(error: Exception) -> None:
    with (
        pytest.raises(InputError, match=r"^p\.zarr: is damaged, or no product \("),
        refuse_damaged("p.zarr", "no product"),
    ):
        raise error
