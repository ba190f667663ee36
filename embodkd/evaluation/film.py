"""Film policies on the same episodes: what happens, and beside it what the policy's cameras show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embodkd.core import Actor
from embodkd.envs.episodes import episode_steps
from embodkd.evaluation import pictures
from embodkd.evaluation.judge import built, named_outcome
from embodkd.evaluation.video import VideoWriter
from embodkd.policies.session import session_of

if TYPE_CHECKING:
    from embodkd.envs import BatchTask

# Six screen pixels per pixel of a 48 x 48 camera; a scene of this size costs 50 ms of rays on one core.
PANEL, HEADER, FOOTER, GAP = 288, 36, 48, 8
_HOLD_S = 1.0


@dataclass(frozen=True)
class Film:
    """A video on disk: its codec, frames, and per episode who succeeded (label -> success)."""

    path: Path
    codec: str
    frames: int
    successes: tuple[dict[str, bool], ...]


def film(
    policies: Mapping[str, Actor],
    task: str | BatchTask,
    options: Mapping[str, Any] | None = None,
    *,
    episodes: int = 4,
    seed: int = 0,
    out: str | Path = "rollout.mp4",
    camera: str = "overview",
) -> Film:
    """Film ``policies`` (label -> policy, such as teacher and student) on the episodes ``seed`` to seed + episodes - 1.

    Episodes are named as an evaluation names them: those of its seed s begin at s * 2**32.
    All policies act at the same time, each in a copy of its own with the same seed; a built ``task`` must have one copy
    per policy.  ``out`` is an mp4 file or a folder for rollout.mp4.  Success is stamped when an episode is over; until
    then the picture says what each copy is busy with, where the task tells.
    """
    if not policies or episodes < 1:
        raise ValueError(f"film: needs at least one policy and one episode, got {len(policies)} and {episodes}")
    out = Path(out)
    out = out if out.suffix else out / "rollout.mp4"
    successes = []
    with built(task, len(policies), options) as world:
        if world.num_envs != len(policies):
            raise ValueError(f"film: {len(policies)} policies need as many copies of the task, it has {world.num_envs}")
        with VideoWriter(out, world.spec.control_hz) as video:
            for number in range(episodes):
                titles = (f"episode {number + 1} of {episodes}", f"seed {seed + number}")
                successes.append(_Take(policies, world, camera, " · ".join(titles), video).shoot(seed + number))
    return Film(out, video.codec, video.frames, tuple(successes))


class _Take:
    """One episode of all policies, drawn as it happens: it drives them, and takes a picture before each step."""

    def __init__(
        self, policies: Mapping[str, Actor], task: BatchTask, camera: str, title: str, video: VideoWriter
    ) -> None:
        self.policies, self.task, self.camera, self.title, self.video = policies, task, camera, title, video
        self.spec = task.spec
        self.sessions = [session_of(policy, 1) for policy in policies.values()]
        # per policy, one row of what it reads, and the picture of its copy
        self.views: list[dict[str, np.ndarray]] = [{} for _ in policies]
        self.scenes: list[np.ndarray] = [np.empty(0)] * len(policies)
        self.states: list[tuple[str, tuple[int, int, int]]] = [("", pictures.WAITING)] * len(policies)

    def shoot(self, seed: int) -> dict[str, bool]:
        """Run the episode to the end of every policy's and return who succeeded."""
        won, labels = {}, list(self.policies)
        for now in episode_steps(self.task, self, (), np.full(len(labels), seed, np.int64)):
            success_N, failure_N = named_outcome(self.task, now.step)
            # A copy that has ended keeps its last picture and outcome while the others go on.
            over = now.ids[now.over]
            self._look(over)
            for copy in over:
                won[labels[copy]] = good = bool(success_N[copy])
                reason = (failure_N[copy] or "unnamed").replace("_", " ")
                self.states[copy] = ("SUCCESS", pictures.GOOD) if good else (f"FAILED: {reason}", pictures.BAD)
        last = self._frame()
        for _ in range(max(1, round(_HOLD_S * self.spec.control_hz))):
            self.video.add(last)
        return {label: won[label] for label in labels}

    def begin(self, ids: np.ndarray | None = None) -> None:
        """Each take has sessions of its own: nothing is to be forgotten."""

    def act(self, obs: Mapping[str, np.ndarray], ids: np.ndarray) -> np.ndarray:
        """Draw what is there, then ask each policy by itself."""
        self._look(ids)
        self.video.add(self._frame())
        return np.concatenate([self.sessions[copy].act(self.views[copy]) for copy in ids])

    def _look(self, ids: np.ndarray) -> None:
        """Observe these copies, each in the groups of its own policy, and take their pictures."""
        policies = list(self.policies.values())
        for copy in ids:
            here = np.array([copy])
            self.views[copy] = self.task.observe(self.spec.check_groups(policies[copy].reads), here)
            self.scenes[copy] = self.task.render(here, (PANEL, PANEL), self.camera)[0]

    def _frame(self) -> np.ndarray:
        panels: list[tuple[str, np.ndarray, int | None]] = []
        for copy, (label, policy) in enumerate(self.policies.items()):
            panels.append((label, self.scenes[copy], copy))
            eyes = [name for name in policy.reads if pictures.is_eye(self.spec.groups[name])]
            if eyes:
                seen = _stack([pictures.eye_picture(self.spec.groups[n], self.views[copy][n][0], PANEL) for n in eyes])
                title = f"{label} sees: {eyes[0]}" if len(eyes) == 1 else f"{label}'s eyes"
                panels.append((title, seen, None))
        width = sum(panel.shape[1] for _, panel, _ in panels) + GAP * (len(panels) + 1)
        frame = np.empty((HEADER + PANEL + FOOTER, width + width % 2, 3), np.uint8)
        frame[:] = pictures.PAPER
        x, texts, phases = GAP, [], self.task.phases()
        middle = HEADER + PANEL + FOOTER // 2 - 2
        for label, panel, owner in panels:
            frame[HEADER : HEADER + PANEL, x : x + panel.shape[1]] = panel
            texts.append((x + 2, HEADER // 2, label, pictures.INK if owner is not None else pictures.FAINT))
            if owner is not None and self.states[owner][0]:
                pictures.badge(frame, x, middle, *self.states[owner])
            elif owner is not None and phases is not None:
                pictures.badge(frame, x + GAP, HEADER + PANEL - 20, phases[owner], pictures.WAITING, 14)
            x += panel.shape[1] + GAP
        steps = int(self.task.steps.max())
        if not any(text for text, _ in self.states):
            texts.append((GAP + 2, middle, f"{self.title} · step {steps} of {self.spec.max_steps}", pictures.FAINT))
        pictures.write_lines(frame, texts)
        done = round((width - 2 * GAP) * min(1.0, steps / self.spec.max_steps))
        frame[-4:-1, GAP : GAP + done] = pictures.FAINT
        return frame


def _stack(eyes: list[np.ndarray]) -> np.ndarray:
    """Several pictures of one height in a column of that height."""
    if len(eyes) == 1:
        return eyes[0]
    step = len(eyes)
    small = [eye[::step, ::step] for eye in eyes]
    rows = PANEL // step
    column = np.empty((PANEL, max(eye.shape[1] for eye in small), 3), np.uint8)
    column[:] = pictures.PAPER
    for index, eye in enumerate(small):
        column[index * rows : (index + 1) * rows, : eye.shape[1]] = eye[:rows]
    return column
