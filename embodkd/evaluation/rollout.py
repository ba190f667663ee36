"""Film policies on the same episodes: what happens, and beside it what the policy's cameras show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embodkd.core.rollout import Actor
from embodkd.evaluation import pictures
from embodkd.evaluation.evaluate import named_outcome
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


def rollout(
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

    All policies act at the same time, each in a copy of its own with the same seed; a built ``task`` must have one copy
    per policy.  ``out`` is an mp4 file or a folder for rollout.mp4.  Success is stamped when an episode is over.
    """
    if not policies or episodes < 1:
        raise ValueError(f"rollout needs at least one policy and one episode, got {len(policies)} and {episodes}")
    out = Path(out)
    out = out if out.suffix else out / "rollout.mp4"
    built = isinstance(task, str)
    if isinstance(task, str):
        from embodkd.envs import make_task

        task = make_task(task, len(policies), **dict(options or {}))
    if task.num_envs != len(policies):
        raise ValueError(f"rollout: {len(policies)} policies need as many copies of the task, it has {task.num_envs}")
    successes = []
    try:
        with VideoWriter(out, task.spec.control_hz) as video:
            for number in range(episodes):
                titles = (f"episode {number + 1} of {episodes}", f"seed {seed + number}")
                successes.append(_Take(policies, task, seed + number, camera, " · ".join(titles)).shoot(video))
    finally:
        if built:
            task.close()
    return Film(out, video.codec, video.frames, tuple(successes))


class _Take:
    """One episode of all policies, drawn as it happens."""

    def __init__(self, policies: Mapping[str, Actor], task: BatchTask, seed: int, camera: str, title: str) -> None:
        self.policies, self.task, self.camera, self.title = policies, task, camera, title
        self.spec = task.spec
        self.sessions = [session_of(policy, 1) for policy in policies.values()]
        self.over_N = np.zeros(task.num_envs, bool)
        self.states: list[tuple[str, tuple[int, int, int]]] = [("", pictures.WAITING)] * task.num_envs
        task.reset(np.full(task.num_envs, seed, np.int64))

    def shoot(self, video: VideoWriter) -> dict[str, bool]:
        """Run the episode to the end of every policy's and return who succeeded."""
        won = dict.fromkeys(self.policies, False)
        views = self._observe()
        while not self.over_N.all():
            video.add(self._frame(views))
            actions = np.zeros((self.task.num_envs, self.spec.action_size), np.float32)
            for copy, session in enumerate(self.sessions):
                if not self.over_N[copy]:
                    actions[copy] = session.act(views[copy])[0]
            step = self.task.step(actions)
            success_N, failure_N = named_outcome(self.task, step)
            # A copy that ended earlier keeps its last picture and outcome while the others go on.
            just_over = np.flatnonzero((step.terminated | step.truncated) & ~self.over_N)
            former = views
            views = [old if over else new for old, new, over in zip(former, self._observe(), self.over_N, strict=True)]
            for copy, label in enumerate(self.policies):
                if copy in just_over:
                    won[label] = bool(success_N[copy])
                    reason = (failure_N[copy] or "unnamed").replace("_", " ")
                    done = ("SUCCESS", pictures.GOOD) if won[label] else (f"FAILED: {reason}", pictures.BAD)
                    self.states[copy] = done
            self.over_N[just_over] = True
        last = self._frame(views)
        for _ in range(max(1, round(_HOLD_S * self.spec.control_hz))):
            video.add(last)
        return won

    def _observe(self) -> list[dict[str, np.ndarray]]:
        """Per policy, one row of what it reads, and the picture of its copy under ""."""
        # One copy at a time for those still running: (1, *shape) rows, as `act` wants them.
        scene = self.task.render(None, (PANEL, PANEL), self.camera)
        views = []
        for copy, policy in enumerate(self.policies.values()):
            rows = self.task.observe(self.spec.check_groups(policy.reads), np.array([copy]))
            views.append({**rows, "": scene[copy]})
        return views

    def _frame(self, views: list[dict[str, np.ndarray]]) -> np.ndarray:
        panels: list[tuple[str, np.ndarray, int | None]] = []
        for copy, (label, policy) in enumerate(self.policies.items()):
            panels.append((label, views[copy][""], copy))
            eyes = [name for name in policy.reads if pictures.is_eye(self.spec.groups[name])]
            if eyes:
                seen = _stack([pictures.eye_picture(self.spec.groups[n], views[copy][n][0], PANEL) for n in eyes])
                title = f"{label} sees: {eyes[0]}" if len(eyes) == 1 else f"{label}'s eyes"
                panels.append((title, seen, None))
        width = sum(panel.shape[1] for _, panel, _ in panels) + GAP * (len(panels) + 1)
        frame = np.empty((HEADER + PANEL + FOOTER, width + width % 2, 3), np.uint8)
        frame[:] = pictures.PAPER
        x, texts = GAP, []
        middle = HEADER + PANEL + FOOTER // 2 - 2
        for label, panel, owner in panels:
            frame[HEADER : HEADER + PANEL, x : x + panel.shape[1]] = panel
            texts.append((x + 2, HEADER // 2, label, pictures.INK if owner is not None else pictures.FAINT))
            if owner is not None and self.states[owner][0]:
                pictures.badge(frame, x, middle, *self.states[owner])
            x += panel.shape[1] + GAP
        steps = int(self.task.steps.max())
        if not any(text for text, _ in self.states):
            texts.append((GAP + 2, middle, f"{self.title} · step {steps} of {self.spec.max_steps}", pictures.FAINT))
        pictures.write(frame, texts)
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
