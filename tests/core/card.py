"""A card that is none: tensors that lie "elsewhere" with their numbers in host memory, and a list of who waits for it.

Inside `card()` the device `CARD` holds real numbers, so that whatever trains on it trains as it would on a CPU. What
on a GPU would make the host wait until all that it asked for is done (reading a number, sizes that depend on numbers, a
copy that is not said to be free of waiting) is answered all the same and noted, with the line of ours that wanted it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

CARD = torch.device("meta")
_READS = {
    "aten::_local_scalar_dense",
    "aten::is_nonzero",
    "aten::equal",
    "aten::nonzero",
    "aten::masked_select",
    "aten::_unique",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::bincount",
    "aten::_linalg_check_errors",
    "aten::linalg_eigvals",
}


class OnCard(torch.Tensor):
    """A tensor of the card; `numbers` are what it holds."""

    numbers: torch.Tensor

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> OnCard:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=CARD,
        )
        made.numbers = numbers
        return made

    is_meta = False  # type: ignore[assignment] # or modules would not load what they had

    @property
    def data(self) -> torch.Tensor:  # type: ignore[override]
        return self.detach()

    @data.setter
    def data(self, value: OnCard) -> None:
        torch.Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.numbers = value.numbers

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **options: Any) -> Any:  # type: ignore[override]
        raise TypeError("a tensor of the card has no numpy(): copy it to the host first")

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} outside of card()")

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnCard({self.numbers})"


class Waits(TorchDispatchMode):
    """`found`: "what, where" for each time that somebody waited while `watching`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.watching = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func._schema.name
        tensors = [v for v in tree_flatten((args, kwargs))[0] if isinstance(v, torch.Tensor)]
        cards = [isinstance(v, OnCard) for v in tensors]
        if not any(cards) and kwargs.get("device") != CARD:
            return func(*args, **kwargs)
        if name == "aten::_to_copy":
            return self._copied(func, args, kwargs)
        if name == "aten::copy_":
            if isinstance(args[0], OnCard) != isinstance(args[1], OnCard):
                self._free(kwargs.pop("non_blocking", args[2] if len(args) > 2 else False), args[0], args[1])
            _plain(args[0]).copy_(_plain(args[1]))
            return args[0]
        if name in _READS or (name == "aten::repeat_interleave" and "output_size" not in kwargs):
            self.note(name)
        if name.startswith("aten::index") and isinstance(args[1], (list, tuple)):
            for index in args[1]:
                if index is not None and index.dtype in (torch.bool, torch.uint8):
                    self.note(f"{name} by a mask")
                elif index is not None and not isinstance(index, OnCard):
                    self.note(f"{name} by places on the host")
        elif any(v.ndim for v, there in zip(tensors, cards, strict=True) if not there):
            raise RuntimeError(f"{name}: some tensors are on the card and some are not")
        if "device" in kwargs and kwargs["device"] == CARD:
            kwargs["device"] = torch.device("cpu")
        answer = func(*tree_map(_plain, args), **tree_map(_plain, kwargs))
        if func._schema.is_mutable and name.endswith("_") and isinstance(args[0], torch.Tensor):
            if args[0].shape != args[0].numbers.shape or args[0].stride() != args[0].numbers.stride():
                with torch._C._DisableTorchDispatch():
                    func(*args, **kwargs)  # the same is done to the shape that it shows
            return args[0]
        return tree_map(lambda v: OnCard(v) if isinstance(v, torch.Tensor) else v, answer)

    def _copied(self, func: Any, args: Any, kwargs: dict[str, Any]) -> torch.Tensor:
        (value,), target = args, kwargs.pop("device", None)
        there = target == CARD if target is not None else isinstance(value, OnCard)
        if there != isinstance(value, OnCard):
            self._free(kwargs.pop("non_blocking", False), there, value)
        found = func(_plain(value), **kwargs)
        found = found.clone() if found is value else found
        return OnCard(found) if there else found

    def _free(self, free: bool, target: Any, value: torch.Tensor) -> None:
        if not free:
            self.note("a copy to the host" if isinstance(value, OnCard) else "a copy to the card that waits")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While open, who waits is noted."""
        self.watching = True
        try:
            yield
        finally:
            self.watching = False

    def note(self, what: str) -> None:
        if self.watching:
            self.found.append(f"{what}, {_line()}")


class Made(TorchFunctionMode):
    """What is made of the host's numbers by torch.tensor and its like, which modes of dispatch do not see."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.new_tensor and isinstance(args[0], OnCard):
            kwargs = {"dtype": args[0].dtype, "device": CARD, **kwargs}
            func, args = torch.tensor, args[1:]
        told = func in (torch.tensor, torch.as_tensor) and not isinstance(args[0], torch.Tensor)
        if not told or kwargs.get("device") is None or torch.device(kwargs["device"]) != CARD:
            return func(*args, **kwargs)
        self._waits.note("numbers of the host, put on the card")
        return OnCard(func(*args, **{**kwargs, "device": None}))


def on_the_cpu(value: torch.Tensor) -> torch.Tensor:
    """The numbers of a tensor, wherever it is."""
    return (value.numbers if isinstance(value, OnCard) else value).detach()


def _plain(value: Any) -> Any:
    return value.numbers if isinstance(value, OnCard) else value


def _line() -> str:
    """The innermost line of the package that led here; a test's line where there is none."""
    frame: Any = sys._getframe(2)
    here = Path(__file__).name
    while frame is not None:
        file = frame.f_code.co_filename
        if ("embodkd" in file or "/tests/" in file) and Path(file).name != here and "/torch/" not in file:
            of = frame.f_code.co_qualname.partition(".<locals>.<")[0] if "<" in frame.f_code.co_name else ""
            return f"{Path(file).name} {of.rpartition('.')[2] or frame.f_code.co_name}"
        frame = frame.f_back
    return "nobody of ours"


@contextmanager
def card() -> Iterator[Waits]:
    """While open there is a card."""
    waits = Waits()
    fused = "torch.utils._foreach_utils._get_fused_kernels_supported_devices"
    asked = torch.is_autocast_enabled
    with ExitStack() as stack:
        for module in ("torch.optim.optimizer", "torch.optim.adam", "torch.optim.sgd"):
            name = "_get_fused_kernels_supported_devices"
            if hasattr(sys.modules[module], name):
                stack.enter_context(mock.patch(f"{module}.{name}", lambda: ["cpu", "meta"]))
        stack.enter_context(mock.patch(fused, lambda: ["cpu", "meta"]))
        stack.enter_context(
            mock.patch("torch.is_autocast_enabled", lambda kind=None: asked("cpu") if kind == "meta" else asked(kind))
        )
        stack.enter_context(waits)
        stack.enter_context(Made(waits))
        yield waits
