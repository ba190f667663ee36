"""A tiny task and policies with known answers: whoever moves towards the hidden side wins."""

from __future__ import annotations

import numpy as np
from embodkd.envs import BatchTask, Group, TaskSpec


class Coin(BatchTask):
    """Each episode hides +1 or -1 (and a length of 3 to 6 steps); the last action's sign must match.

    ``proprio`` says nothing about it, ``eye`` (an image) and ``privileged`` show it, ``leaky`` carries it in a
    corner of a vector that is declared deployable.
    """

    def __init__(self, num_envs: int, varied: bool = True, tell: bool = True) -> None:
        super().__init__(num_envs, action_size=2)
        self._varied, self._tell = varied, tell
        self.side = np.ones(num_envs)
        self.length = np.full(num_envs, 6)
        groups = [
            Group("proprio", (3,), False, "-", "own noise"),
            Group("leaky", (4,), False, "-", "noise and a secret"),
            Group("eye", (1, 8, 8), False, "-", "bright on the left or on the right", dtype="uint8"),
            Group("privileged", (2,), True, "-", "the hidden side and its double"),
        ]
        self.spec = TaskSpec("coin", "none", {g.name: g for g in groups}, 2, 10.0, 6, ("none", "left", "right"))
        self.observers = {
            "proprio": lambda ids: self._rows(self._noise(3), ids),
            "leaky": lambda ids: self._rows(np.c_[self._noise(3), self.side + 0.1 * self._noise(1)[:, 0]], ids),
            "eye": lambda ids: self._rows(self._image(), ids),
            "privileged": lambda ids: self._rows(np.c_[self.side, 2 * self.side], ids),
        }

    def _place(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        self.side[ids] = np.sign(self.uniform(seeds, "side", 1)[:, 0])
        if self._varied:
            self.length[ids] = 3 + (seeds % 4)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        success = actions[:, 0] * self.side > 0
        return np.abs(actions[:, 0]), np.where(success, 0, np.where(self.side > 0, 2, 1)), success

    def step(self, actions: np.ndarray):  # type: ignore[no-untyped-def]
        step = super().step(actions)
        info = step.info if self._tell else {"failure": step.info["failure"]}
        return step._replace(truncated=self.steps >= self.length, info=info)

    def render(self, ids=None, size=(240, 320), camera="overview"):  # type: ignore[no-untyped-def]
        value = self._rows(np.where(self.side > 0, 200, 60), ids).astype(np.uint8)
        return np.broadcast_to(value[:, None, None, None], (len(value), *size, 3)).copy()

    def _noise(self, width: int) -> np.ndarray:
        return self.uniform(self.seeds + 7919 * self.steps, "noise", width)

    def _image(self) -> np.ndarray:
        image = np.full((self.num_envs, 1, 8, 8), 20, np.uint8)
        image[self.side < 0, :, :, :4] = 220
        image[self.side > 0, :, :, 4:] = 220
        return image

    @staticmethod
    def _rows(values: np.ndarray, ids: np.ndarray | None) -> np.ndarray:
        chosen = values if ids is None else values[ids]
        return chosen if chosen.dtype == np.uint8 else chosen.astype(np.float32)


class Fixed:
    """Acts by a function of the observations; counts the batch sizes that it was given."""

    def __init__(self, reads, decide) -> None:  # type: ignore[no-untyped-def]
        self.reads, self._decide, self.batches = tuple(reads), decide, set()

    def act(self, obs: dict[str, np.ndarray]) -> np.ndarray:
        first = np.asarray(self._decide(obs), np.float32)
        self.batches.add(len(first))
        return np.stack([first, np.zeros_like(first)], axis=1)


def _right_minus_left(image: np.ndarray) -> np.ndarray:
    image = image.astype(float)
    return (image[..., 4:].mean(axis=(1, 2, 3)) - image[..., :4].mean(axis=(1, 2, 3))) / 255


def knower() -> Fixed:
    """Reads the hidden side: always wins."""
    return Fixed(["privileged"], lambda obs: obs["privileged"][:, 0])


def seer() -> Fixed:
    """Looks at the image (and claims to read proprioception)."""
    return Fixed(["proprio", "eye"], lambda obs: _right_minus_left(obs["eye"]) + 1e-4 * obs["proprio"][:, 0])


def guesser() -> Fixed:
    """Blind: right half of the time."""
    return Fixed(["proprio"], lambda obs: obs["proprio"][:, 0])


def cheat() -> Fixed:
    """Says that it reads the image, and looks into the privileged group where it can."""
    return Fixed(["eye"], lambda obs: obs["privileged"][:, 0] if "privileged" in obs else _right_minus_left(obs["eye"]))
