"""The floor of a task: one recorded episode, replayed without looking. A policy that does not beat it may have learned
no more than one motion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embodkd.core.ranks import ranks
from embodkd.core.runs.progress import progress
from embodkd.data.lerobot import Demonstrations
from embodkd.envs import BatchTask
from embodkd.envs.seeds import rehearsed
from embodkd.evaluation.judge import evaluate, run_episodes
from embodkd.evaluation.result import Episode, Evaluation

MOST, TRIES = 50, 16


class BlindReplay:
    """Does what was recorded, whatever it is shown: action t at step t, after the last one that one again.

    actions_CTA: float32 (C, T, A), a recording for each copy, or C = 1, the same one for all.
    """

    reads: tuple[str, ...] = ()

    def __init__(self, actions_CTA: np.ndarray) -> None:
        self.actions_CTA = actions_CTA

    def session(self, copies: int, chunk: int = 0) -> _Replaying:
        """It at work in that many copies."""
        assert len(self.actions_CTA) in (1, copies), "a recording for each copy, or one for all"
        return _Replaying(self.actions_CTA, copies)

    def act(self, obs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The first actions, (C, A): without a session it is always the first step."""
        return self.actions_CTA[:, 0]


class _Replaying:
    """How far each copy has come."""

    def __init__(self, actions_CTA: np.ndarray, copies: int) -> None:
        self._actions_CTA, self._step_N = actions_CTA, np.zeros(copies, np.int64)
        self._row_N = np.minimum(np.arange(copies), len(actions_CTA) - 1)

    def begin(self, ids: np.ndarray | None = None) -> None:
        """See Session.begin."""
        self._step_N[slice(None) if ids is None else ids] = 0

    def act(self, obs: Mapping[str, np.ndarray], ids: np.ndarray | None = None) -> np.ndarray:
        """See Session.act."""
        ids = np.arange(len(self._step_N)) if ids is None else ids
        step_n = np.minimum(self._step_N[ids], self._actions_CTA.shape[1] - 1)
        self._step_N[ids] += 1
        return self._actions_CTA[self._row_N[ids], step_n]


@dataclass(frozen=True)
class Best:
    """The recording that succeeded most often, the first of those.

    actions_TA: what it does; episode: its number in the dataset; seed: the one that it was recorded on, -1 where that
    is unknown; successes_R: those of all that were tried, out of ``tries`` each.
    """

    actions_TA: np.ndarray
    episode: int
    seed: int
    successes_R: np.ndarray
    tries: int

    def as_dict(self) -> dict[str, Any]:
        """What a manifest says of it."""
        return {
            "episode": self.episode,
            "recorded_on_seed": self.seed,
            "successes": int(self.successes_R.max()),
            "of": self.tries,
            "recordings": len(self.successes_R),
        }


def best_replay(task: BatchTask, data: Demonstrations, *, tries: int = TRIES, quiet: bool = True) -> Best:
    """The best of the first ``MOST`` recordings of ``data``, each replayed in ``task`` on the same ``tries`` episodes.

    Nothing is judged on these, learned from or recorded on. Of several ranks each must call this and tries its share.

    ``ValueError`` for actions of another size than the task's.
    """
    actions_RTA = held(data, MOST)
    if actions_RTA.shape[2] != task.spec.action_size:
        raise ValueError(
            f"recordings of {actions_RTA.shape[2]} actions, task {task.spec.name!r} needs {task.spec.action_size}: "
            "name a task that they can be replayed in"
        )
    count = len(actions_RTA)
    pair_P = ranks().share(np.arange(count * tries))
    with progress(len(pair_P), f"replaying {count} recordings of {task.spec.name}", quiet=quiet) as bar:
        outcomes = list[Episode]()
        for pair_N in np.split(pair_P, range(task.num_envs, len(pair_P), task.num_envs)):
            outcomes += run_episodes(
                _side_by_side(actions_RTA, pair_N // tries, task), task, rehearsed(tries)[pair_N % tries]
            )
            bar.advance(len(pair_N))
    success_P = np.array([outcome.success for outcome in ranks().merged(outcomes)])
    successes_R = success_P.reshape(count, tries).sum(axis=1)
    best = int(successes_R.argmax())
    lasts = int(data.lengths_E[best])
    return Best(actions_RTA[best, :lasts], int(data.episodes_E[best]), int(data.seeds_E[best]), successes_R, tries)


def judge_replay(
    task: BatchTask,
    data: Demonstrations,
    *,
    episodes: int = 200,
    seed: int = 0,
    tries: int = TRIES,
    quiet: bool = True,
) -> Evaluation:
    """The best recording of ``data``, judged like any policy; the manifest says under ``replay`` which one it was."""
    best = best_replay(task, data, tries=tries, quiet=quiet)
    result = evaluate(BlindReplay(best.actions_TA[None]), task, episodes=episodes, seed=seed, quiet=quiet)
    return replace(result, manifest=result.manifest | {"replay": best.as_dict()})


def held(data: Demonstrations, most: int) -> np.ndarray:
    """The actions of the first ``most`` recordings, each at last held until the longest one ends, (R, T, A)."""
    start_R, length_R = data.starts_E[:most], data.lengths_E[:most]
    step_T = np.arange(length_R.max())
    return data.action_FA[start_R[:, None] + np.minimum(step_T, length_R[:, None] - 1)]


def _side_by_side(actions_RTA: np.ndarray, recording_N: np.ndarray, task: BatchTask) -> BlindReplay:
    """One recording per copy; copies for which there is none left idle with the first."""
    row_N = np.zeros(task.num_envs, np.int64)
    row_N[: len(recording_N)] = recording_N
    return BlindReplay(actions_RTA[row_N])
