"""In which numbers a model is trained: float32, half precision in its forward pass, or double throughout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from embodkd.core.runs.folder import RunFolder

Name = Literal["auto", "no", "bf16", "fp16", "float64"]
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def fastest(device: torch.device, model: nn.Module) -> Literal["bf16", "no"]:
    """What "auto" is for a model: bf16 on cards that have it, and for one that sees pictures on processors that
    multiply it, while torch has one thread.

    On several threads its products were many times as slow as float32 where the machine had other work, and small
    layers gain nothing that the conversions do not cost.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    if not any(isinstance(layer, nn.Conv2d) for layer in model.modules()):
        return "no"
    # before torch 2.11 there is nothing to ask
    able: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    multiplied = any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
    return "bf16" if multiplied and torch.get_num_threads() == 1 else "no"


def as_begun(run: RunFolder | None, device: torch.device, model: nn.Module) -> Name:
    """What "auto" was when the run began, written into a new one and said: another precision would give other bits."""
    found: Name = fastest(device, model)
    if run is not None:
        found = run.before.get("precision", found)
        if "precision" not in run.before:
            run.note(precision=found)
        print(f"{run.path}: precision=auto is {'float32' if found == 'no' else found} here")
    return found


class Precision:
    """One training's: "no" (float32), "bf16" or "fp16" (autocast; weights stay float32) or "float64".

    fp16 has a loss scaler, one for all players and stages: after all optimisers of an update have stepped, `settle`
    moves its scale once. ValueError for another name.
    """

    def __init__(self, name: Name, device: torch.device) -> None:
        if name not in get_args(Name):
            raise ValueError(f"trainer.precision: {name!r} is not one of {', '.join(get_args(Name))}")
        self._device, self._half = device, _HALF.get(name)
        # what models become; None leaves them as they are
        self.dtype = torch.float64 if name == "float64" else None
        self.scaler = torch.amp.GradScaler(device.type) if name == "fp16" else None

    def autocast(self) -> AbstractContextManager[object]:
        """Around a forward pass."""
        return nullcontext() if self._half is None else torch.autocast(self._device.type, dtype=self._half)

    def scaled(self, loss: Tensor) -> Tensor:
        """What to call backward() on."""
        return loss if self.scaler is None else self.scaler.scale(loss)

    def unscale(self, optimiser: torch.optim.Optimizer) -> None:
        """Gradients of this optimiser become those of the loss itself; once per update."""
        if self.scaler is not None:
            self.scaler.unscale_(optimiser)

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """Move the parameters; a scaler leaves them where a gradient is infinite."""
        if self.scaler is None:
            optimiser.step()
        else:
            self.scaler.step(optimiser)

    def state(self) -> dict[str, float] | None:
        """What a resumed run needs: the scaler's, if there is one."""
        return None if self.scaler is None else self.scaler.state_dict()

    def restore(self, state: Mapping[str, float] | None) -> None:
        """Go on from `state`."""
        if self.scaler is not None and state is not None:
            self.scaler.load_state_dict(dict(state))

    def settle(self, stepped: bool) -> None:
        """After an update, in which an optimiser has `stepped` or none has."""
        if self.scaler is not None and stepped:
            self.scaler.update()


@contextmanager
def default_type(wanted: torch.dtype | None) -> Iterator[None]:
    """While open, torch's default type is `wanted` (None: what it was): for new modules, and for what sources give."""
    former = torch.get_default_dtype()
    if wanted is not None:
        torch.set_default_dtype(wanted)
    try:
        yield
    finally:
        torch.set_default_dtype(former)


def as_default(value: Tensor) -> Tensor:
    """Floats are widened to float64 where that is torch's default type; everything else stays."""
    wanted = wide_type()
    return value.to(wanted) if wanted is not None and value.is_floating_point() else value


def wide_type() -> torch.dtype | None:
    """float64 where that is torch's default type, else None."""
    return torch.float64 if torch.get_default_dtype() is torch.float64 else None
