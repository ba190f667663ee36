"""torch's random draws during an update: a function of a key alone, and the same again for every piece of a batch."""

from __future__ import annotations

import hashlib

import torch


def seed_draws(device: torch.device, *key: int) -> None:
    """torch's generators of the CPU and of `device` start from `key`, whatever was drawn before."""
    # torch.manual_seed asks every backend that exists, which takes a third of a millisecond.
    number = int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "little")
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.default_generators[_index(device)].manual_seed(number)


class Replay:
    """Draws from here on that can be made again."""

    def __init__(self, device: torch.device) -> None:
        self._cpu = torch.get_rng_state()
        self._device = device if device.type == "cuda" else None
        self._cuda = torch.cuda.get_rng_state(device) if self._device is not None else None

    def again(self) -> None:
        """The next draws are those that came first."""
        torch.set_rng_state(self._cpu)
        if self._cuda is not None and self._device is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index
