"""A device that is none: its tensors live on the processor, but nothing may mix them with others.

Torch's slot for backends of one's own gets tensors that hold a tensor of the processor and pass every
operation on to it. An operation on tensors of both kinds is refused, as on a real device, and so is one that
would make the processor wait for a number of the device; copies back are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

__all__ = ["NAME", "Lending", "lending"]

NAME = "privateuseone"
#: Operations that give the processor a number, or a shape that depends on one.
_WAITS = {
    "_local_scalar_dense",
    "item",
    "is_nonzero",
    "nonzero",
    "masked_select",
    "equal",
    "unique2",
    "_unique2",
}


class Lent(torch.Tensor):
    """A tensor of the lent device."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Lent:
        # Of one kind, in inference mode or not: a view must be of the kind of what it looks at.
        with torch.inference_mode(False):
            return torch.Tensor._make_wrapper_subclass(
                cls,
                held.shape,
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                device=torch.device(NAME, 0),
            )

    def __init__(self, held: torch.Tensor) -> None:
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Without the mode the device is gone; this is reached from inside it alone.
        raise RuntimeError(f"{func} on the lent device outside of `lending`")


def _is_lent(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


class Lending(TorchDispatchMode):
    """Gives the device away while it is entered.

    Attributes
    ----------
    returned : list of torch.Size
        Shapes of what was copied back.
    operations : int
        How many ran on the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.returned: list[torch.Size] = []
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        lent = [x for x in tensors if isinstance(x, Lent)]
        if name == "_to_copy":
            return self._copied(func, args[0], kwargs)
        if lent and name in _WAITS:
            raise RuntimeError(f"{func} waits for the device")
        with self:
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        if name == "copy_":
            return self._copy_into(*args[:2])
        if lent and any(x.dim() or x.numel() > 1 for x in tensors if not isinstance(x, Lent)):
            raise RuntimeError(f"{func} mixes tensors of the device and of the processor")
        if lent and name in ("index", "index_put_", "_index_put_impl_"):
            self._refuse_mask(func, args)
        return self._run(func, args, kwargs, lent)

    def _copied(self, func: Any, source: torch.Tensor, kwargs: dict[str, Any]) -> torch.Tensor:
        here, target = isinstance(source, Lent), kwargs.get("device")
        goes = here if target is None else _is_lent(target)
        kept = {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking", "pin_memory")}
        found = func(source.held if here else source, **kept)
        if here and not goes:
            self.returned.append(source.shape)
        return Lent(found) if goes else found

    def _copy_into(self, target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        if isinstance(target, Lent) != isinstance(source, Lent) and source.dim():
            raise RuntimeError("copy_ mixes tensors of the device and of the processor")
        raw = [x.held if isinstance(x, Lent) else x for x in (target, source)]
        raw[0].copy_(raw[1])
        return target

    @staticmethod
    def _refuse_mask(func: Any, args: Any) -> None:
        masks = [x for x in args[1] if x is not None and x.dtype == torch.bool]
        # Torch fills where a mask holds without counting, if the value is one number.
        if masks and (len(args) < 3 or args[2].numel() > 1):
            raise RuntimeError(f"{func} by a mask waits for the device")

    def _run(self, func: Any, args: Any, kwargs: dict[str, Any], lent: list[Lent]) -> Any:
        target = kwargs.get("device")
        if target is not None:
            if lent and not _is_lent(target):
                raise RuntimeError(f"{func} makes a tensor beside the device")
            kwargs = {**kwargs, "device": torch.device("cpu")}
        if not lent and not _is_lent(target):
            return func(*args, **kwargs)
        self.operations += 1
        known = {id(x.held): x for x in lent}
        args, kwargs = tree_map(lambda x: x.held if isinstance(x, Lent) else x, (args, kwargs))
        found = func(*args, **kwargs)
        return tree_map(lambda x: known.get(id(x), Lent(x)) if isinstance(x, torch.Tensor) else x, found)


_REGISTERED: list[bool] = []


@contextmanager
def lending() -> Iterator[Lending]:
    """The device, as long as the block runs, in this thread."""
    if not _REGISTERED:
        _setup_privateuseone_for_python_backend()
        _REGISTERED.append(True)
    with Lending() as mode:
        yield mode
