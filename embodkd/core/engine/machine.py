"""What a trainer is asked to run on: refused by name where it is not there, or does not go together."""

from __future__ import annotations

import torch


def check_machine(device: str, compile: bool, accumulate: int, processes: int) -> None:
    """ValueError for a device that torch does not see, or compiled layers where batches are shared out."""
    if accumulate < 1:
        raise ValueError(f"trainer.accumulate: must be at least 1, got {accumulate}")
    if device not in ("cpu", "cuda", "auto"):
        raise ValueError(f"trainer.device: {device!r} is not one of cpu, cuda, auto")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"trainer.device: cuda, but torch sees no card ({_why_no_cuda()}); use device=cpu")
    if compile and (accumulate > 1 or processes > 1):
        raise ValueError(
            f"trainer.compile: compiled layers do not see that a batch is shared out (accumulate={accumulate}, "
            f"{processes} process(es)), so that batch norm and dropout would be others: set compile=false"
        )


def _why_no_cuda() -> str:
    return f"torch {torch.__version__} is built without CUDA" if torch.version.cuda is None else "no driver or card"
