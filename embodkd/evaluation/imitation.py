"""Where there is no simulator: how far a policy's actions are from recorded ones, in their units.

The policy is shown what was recorded, step by step, and works as it would on the robot; what it would have done is
compared with what was done. That is no success rate: a policy that errs little may fail, and one that goes another way
may do well.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from embodkd.core.config.ranges import Count, NotNegative
from embodkd.core.ranks import ranks
from embodkd.core.runs.progress import progress
from embodkd.core.runs.reading import blamed, read_json
from embodkd.core.sources.action import ActionFacts, StoredAction
from embodkd.core.sources.chunks import CHUNK
from embodkd.evaluation.interval import t_interval
from embodkd.evaluation.manifest import manifest_of
from embodkd.evaluation.result import Judging, write_result

if TYPE_CHECKING:
    from embodkd.data.lerobot import Demonstrations
    from embodkd.policies import Policy

FILE = "imitation.json"


class _Episode(TypedDict):
    name: str
    steps: Count
    error: list[NotNegative]
    constant: list[NotNegative]


class _Judging(Judging, total=False):
    said: list[str]


class _Stored(TypedDict):
    """What is read of imitation.json."""

    action: StoredAction
    episodes: list[_Episode]
    protocol: dict[str, Any]
    manifest: _Judging


@dataclass(frozen=True)
class Imitated:
    """One episode: what it is called, its steps, and of each dimension the mean distance between the policy's actions
    and the recorded ones, and between these and the best constant guess."""

    name: str
    steps: int
    error_A: tuple[float, ...]
    constant_A: tuple[float, ...]


@dataclass(frozen=True)
class Imitation:
    """Errors of a policy on recorded episodes, by dimension; see Evaluation for ``protocol`` and ``manifest``."""

    action: ActionFacts
    episodes: tuple[Imitated, ...]
    protocol: dict[str, Any]
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def errors(self) -> list[tuple[float, float, float]]:
        """(mean over episodes, low, high) of each dimension: Student's 95 % interval over episodes, none below 0."""
        found = [t_interval([e.error_A[a] for e in self.episodes]) for a in range(self.action.size)]
        return [(mean, max(0.0, low), high) for mean, low, high in found]

    @property
    def constants(self) -> list[float]:
        """What the best constant guess comes to, the same way."""
        return [float(np.mean([e.constant_A[a] for e in self.episodes])) for a in range(self.action.size)]

    @property
    def share(self) -> float:
        """The errors as a share of those of constant guesses, a mean over the dimensions that move."""
        pairs = [(mean, constant) for (mean, _, _), constant in zip(self.errors, self.constants, strict=True)]
        moving = [mean / constant for mean, constant in pairs if constant > 0]
        return float(np.mean(moving)) if moving else 0.0

    @property
    def beware(self) -> tuple[str, ...]:
        """What must be said beside the figures."""
        return tuple(self.manifest.get("beware", ()))

    @property
    def said(self) -> tuple[str, ...]:
        """What there was to say of the recorded episodes: which are left out, what of them is not read."""
        return tuple(self.manifest.get("said", ()))

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        """Of each dimension: its name, its error with unit, the interval, the error of a constant guess."""
        found = []
        for name, unit, (mean, low, high), constant in zip(
            self.action.names, self.action.units, self.errors, self.constants, strict=True
        ):
            interval = f"{low:.3g} to {high:.3g}" if np.isfinite(high) else "none of one episode"
            found.append((name, f"{mean:.3g} {unit}".strip(), interval, f"{constant:.3g} {unit}".strip()))
        return found

    def __str__(self) -> str:
        count, steps = len(self.episodes), sum(episode.steps for episode in self.episodes)
        judged = f"mean absolute error on {count} episode{'s' if count > 1 else ''} ({steps} steps)"
        lines = [judged if self.beware else f"{judged} that it never saw"]
        lines += [f"  beware: {said}" for said in self.beware]
        lines += [f"  {n}: {error} (95 %: {over}), a constant guess {guess}" for n, error, over, guess in self.rows]
        return "\n".join(lines)

    def save(self, path: str | Path) -> Path:
        """Write imitation.json whole or not at all; a folder gets a file of that name inside."""
        errors = zip(self.action.names, self.errors, self.constants, strict=True)
        content = {
            "error": {
                name: {"mean": mean, "ci95": [low, high] if np.isfinite(high) else None, "constant": constant}
                for name, (mean, low, high), constant in errors
            },
            "action": self.action.as_dict(),
            "episodes": [
                {"name": e.name, "steps": e.steps, "error": list(e.error_A), "constant": list(e.constant_A)}
                for e in self.episodes
            ],
            "protocol": self.protocol,
            "manifest": self.manifest,
        }
        return write_result(path, FILE, content, self)

    @classmethod
    def load(cls, path: str | Path) -> Imitation:
        """Read what ``save`` wrote; ``ValueError`` if it is missing, damaged or contradicts itself."""
        path = Path(path)
        path = path / FILE if path.is_dir() else path
        stored = read_json(path, _Stored)
        with blamed(path):
            action = ActionFacts.from_dict(stored["action"])
        episodes = tuple(
            Imitated(e["name"], e["steps"], tuple(e["error"]), tuple(e["constant"])) for e in stored["episodes"]
        )
        if not episodes or any(len(e.error_A) != action.size or len(e.constant_A) != action.size for e in episodes):
            raise ValueError(f"{path}: not one error per dimension and episode; run it again")
        return cls(action, episodes, dict(stored["protocol"]), dict(stored["manifest"]))


@dataclass(frozen=True)
class Course:
    """What was done in one recorded episode and what the policy would have done, (T, A) each."""

    name: str
    recorded_TA: np.ndarray
    given_TA: np.ndarray


def imitation(
    policy: Policy,
    demos: Demonstrations,
    names: Sequence[str],
    *,
    protocol: Mapping[str, Any],
    said: Sequence[str] = (),
    beware: Sequence[str] = (),
    copies: int = 64,
    chunk: int = CHUNK,
    policy_folder: str | Path | None = None,
    quiet: bool = False,
) -> tuple[Imitation, list[Course]]:
    """Errors of ``policy`` on all episodes of ``demos``, which are called ``names``, and their courses.

    Of several ranks each must call this and takes its share of the episodes; all get the whole result. ``copies``
    episodes are played side by side, which changes nothing. ``ValueError`` without any episode.
    """
    if not len(demos.lengths_E):
        raise ValueError("there is no episode to judge the policy by")
    start = time.monotonic()
    own = ranks().share(np.arange(len(demos.lengths_E)))
    courses: list[Course] = []
    with progress(int(demos.lengths_E[own].sum()), "imitating", quiet=quiet) as bar:
        for at in range(0, len(own), copies):
            chosen = own[at : at + copies]
            for e, given_TA in zip(chosen, _played(policy, demos, chosen, chunk), strict=True):
                frames = slice(demos.starts_E[e], demos.starts_E[e] + demos.lengths_E[e])
                courses.append(Course(names[e], demos.action_FA[frames], given_TA))
            bar.advance(int(demos.lengths_E[chosen].sum()))
    courses = ranks().merged(courses)
    guess_A = np.median(np.concatenate([course.recorded_TA for course in courses]), axis=0)
    facts = manifest_of(policy_folder) | {
        "reads": {n: "privileged" if group.privileged else "deployable" for n, group in policy.inputs.items()},
        "minutes": round((time.monotonic() - start) / 60, 3),
        "beware": list(beware),
        "said": list(said),
    }
    asked = {**protocol, "measure": "mean absolute error of each action, shown what was recorded"}
    return Imitation(policy.action, tuple(_judged(course, guess_A) for course in courses), asked, facts), courses


def _played(policy: Policy, demos: Demonstrations, chosen: np.ndarray, chunk: int) -> list[np.ndarray]:
    """What the policy does in these episodes (T, A), side by side, each as long as it is."""
    from embodkd.policies import session_of

    session = session_of(policy, len(chosen), chunk)
    session.begin()
    lengths, starts = demos.lengths_E[chosen], demos.starts_E[chosen]
    given = [np.zeros((length, policy.action_size), np.float32) for length in lengths]
    for step in range(int(lengths.max())):
        ids = np.flatnonzero(step < lengths)
        action_NA = session.act({name: demos.frames[name][starts[ids] + step] for name in policy.reads}, ids)
        for i, action_A in zip(ids, action_NA, strict=True):
            given[i][step] = action_A
    return given


def _judged(course: Course, guess_A: np.ndarray) -> Imitated:
    recorded_TA = course.recorded_TA.astype(np.float64)
    error_A, constant_A = (np.abs(recorded_TA - other).mean(0) for other in (course.given_TA, guess_A))
    return Imitated(course.name, len(recorded_TA), tuple(error_A.tolist()), tuple(constant_A.tolist()))
