"""Which devices there are, and how arrays travel to them and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmnet_maps.errors import InputError
from mmnet_maps.produce.engine import device
from mmnet_maps.produce.engine.arrays import DeviceArrays
from mmnet_maps.produce.engine.device import exact_products, find_device
from mmnet_maps.produce.engine.sizes import ON_CPU, Sizes, sizes_of

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]


def test_the_processor_is_always_there() -> None:
    assert find_device("cpu") == find_device("cpu:0") == torch.device("cpu")
    assert device.seen_devices()[0] == "cpu"


@pytest.mark.parametrize("name", ["tpu", "cuda:7", "xpu", "mps", "meta", "1", ""])
def test_a_device_that_torch_does_not_see_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "seen_devices", lambda: ["cpu", "cuda:0", "cuda:1"])
    with pytest.raises(InputError) as refused:
        find_device(name)
    expected = f"device {name}: torch sees no such device here; it sees cpu, cuda:0, cuda:1"
    assert str(refused.value) == expected


def test_devices_are_named_with_a_number_or_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "seen_devices", lambda: ["cpu", "cuda:0", "cuda:1", "mps"])
    for name in ("cuda", "cuda:1", "mps"):
        assert find_device(name) == torch.device(name)


def _settings() -> tuple[object, ...]:
    matmul = torch.backends.cuda.matmul
    return (
        matmul.allow_bf16_reduced_precision_reduction,
        torch.get_float32_matmul_precision(),
        getattr(matmul, "fp32_precision", None),
        getattr(torch.backends.mkldnn.matmul, "fp32_precision", None),
    )


@pytest.mark.parametrize("before", ["highest", "high", "medium"])
def test_products_are_exact_within_and_as_before_afterwards(before: str) -> None:
    torch.set_float32_matmul_precision(before)
    try:
        outside = _settings()
        with pytest.raises(KeyError), exact_products():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cuda.matmul.allow_tf32
            assert not torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
            raise KeyError
        assert _settings() == outside
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="torch before 2.9")
def test_products_are_exact_where_tf32_was_asked_for_under_its_new_name() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    try:
        with exact_products():
            assert matmul.fp32_precision == "ieee"
            assert torch.get_float32_matmul_precision() == "highest"
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


def _arrays() -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (6, 40), dtype=np.uint8)
    fixed = wide.copy()
    fixed.flags.writeable = False
    return {
        "bytes": wide,
        "bits": wide.view(np.uint16),
        "signed": wide.view(np.int16),
        "numbers": rng.normal(size=(3, 5)),
        "marks": wide > 9,
        "strided": wide[::2, 1::3],
        "read only": fixed,
        "empty": np.empty((0, 4), dtype=np.float32),
    }


@pytest.mark.parametrize("name", DEVICES)
def test_arrays_arrive_whole_and_come_back(name: str) -> None:
    arrays, xp = _arrays(), DeviceArrays(torch.device(name))
    tensors = xp.upload(arrays)()
    assert all(tensor.device.type == name for tensor in tensors.values())
    back = xp.download({key: tensor.clone() for key, tensor in tensors.items()})()
    for key, array in arrays.items():
        expected = array.view(np.int16) if array.dtype == np.uint16 else array
        assert back[key].dtype == expected.dtype
        np.testing.assert_array_equal(back[key], expected)


def test_what_was_sent_is_a_copy() -> None:
    array = np.zeros(4, dtype=np.float32)
    tensor = DeviceArrays(torch.device("cpu")).send(array)
    array[:] = 1
    assert not tensor.any()


def test_blocks_are_whole_numbers_of_products() -> None:
    for each_day in (False, True):
        assert sizes_of(torch.device("cpu"), each_day) == ON_CPU
        large = sizes_of(torch.device("cuda"), each_day)
        assert large.step > ON_CPU.step
    with pytest.raises(ValueError, match="whole number"):
        Sizes(block=100, step=64, windows=10, day_batch=1, window_batch=1)
