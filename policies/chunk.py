"""Policies that predict many future actions at once, and the session that carries them out one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from embodkd.policies.base import Policy
from embodkd.policies.minmax import MinMaxNormaliser
from embodkd.policies.scaling import Scaling, for_actions, for_states
from embodkd.policies.sentences import GROUP, Language, Sentences
from torch import Tensor

from embodkd.core.config.registry import near
from embodkd.core.sources.chunks import CHUNK, in_chunks
from embodkd.core.sources.group import GroupFacts


class History(NamedTuple):
    """What a chunk goes on from, in N copies, all normalised.

    plan_NHA: what is left of the former chunk, then zeros. begins_N: bool, where nothing is planned yet, as at the
    start of an episode; the plan is not looked at there. noise_NHA: standard normal, for policies that sample.
    """

    plan_NHA: Tensor
    begins_N: Tensor
    noise_NHA: Tensor | None = None


class ChunkPolicy(Policy):
    """Predicts the next `horizon` actions and carries out the first `execute` of them; then it looks again.

    `recalls` names what `chunk` looks at of a history. Only a session acts as evaluation does: `act` forgets the rest
    of the chunk and answers as if an episode began.

    A subclass writes `chunk` and `errors`. Both work on actions scaled to [-1, 1] by the range that they had in the
    demonstrations (see `Scaling`); `self.actions` holds that range and `self.normaliser` the states': see
    `fit_normalisers`. A policy that is told what to do has `sentences`, whose vectors join the normalised ones.
    """

    normaliser: MinMaxNormaliser
    recalls: tuple[str, ...] = ()

    def __init__(self, action_size: int, horizon: int, execute: int, scaling: Scaling = "range") -> None:
        super().__init__(action_size)
        if not 1 <= execute <= horizon:
            raise ValueError(
                f"policy {self._title()}: it must carry out between 1 and all of its {horizon} actions, "
                f"not execute={execute}"
            )
        self.horizon, self.execute, self.scaling = horizon, execute, scaling
        self.actions = for_actions(scaling, action_size)
        self.sentences: Sentences | None = None

    def chunk(self, obs: Mapping[str, Tensor], history: History) -> Tensor:
        """The next actions, normalised, (N, H, A)."""
        raise NotImplementedError

    def noise(self, obs: Mapping[str, Tensor]) -> Tensor | None:
        """What `chunk` samples from, a function of what is seen, (N, H, A); None for a policy that does not sample."""
        return None

    def errors(self, obs: Mapping[str, Tensor], actions_NHA: Tensor) -> Tensor:
        """How far it is from imitating each of these actions (in their own units, one chunk from each observation on),
        (N, H, A)."""
        raise NotImplementedError

    def loss(self, obs: Mapping[str, Tensor], actions_NHA: Tensor, kept_NH: Tensor | None = None) -> Tensor:
        """The mean of `errors`, (N,); of the actions that `kept_NH` keeps, at least one of each chunk."""
        errors_NHA = self.errors(obs, actions_NHA)
        if kept_NH is None:
            return errors_NHA.mean((1, 2))
        kept_NH = kept_NH.to(errors_NHA.dtype)
        return (errors_NHA.mean(2) * kept_NH).sum(1) / kept_NH.sum(1)

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        """The first action of an episode that starts here, unclipped, (N, A)."""
        return self.actions.denormalise(self.chunk(obs, self.beginning(obs))[:, 0])

    def beginning(self, obs: Mapping[str, Tensor]) -> History:
        """The history at the start of an episode: nothing is planned."""
        count = next(iter(obs.values())).shape[0]
        plan_NHA = torch.zeros(count, self.horizon, self.action_size, device=self.device, dtype=self.dtype)
        return History(plan_NHA, torch.ones(count, dtype=torch.bool, device=self.device), self.noise(obs))

    def fit_normalisers(self, obs: Mapping[str, Tensor | np.ndarray], actions: Tensor | np.ndarray) -> None:
        """Take the ranges of states and actions (..., A) from frames of demonstrations: those that are trained on."""
        rows = [torch.as_tensor(obs[name]).flatten(0, -2) for name in self.vectors]
        self.normaliser.fit(torch.cat(rows, dim=1))
        self.actions.fit(torch.as_tensor(actions).flatten(0, -2))

    def update_statistics(self, obs: Mapping[str, Tensor | np.ndarray]) -> None:
        """Widen the ranges of states and, where `obs` holds a teacher's actions as "target" (..., A), of actions."""
        super().update_statistics(obs)
        if "target" in obs:
            self.actions.update(torch.as_tensor(obs["target"]).flatten(0, -2))

    @property
    def vector_size(self) -> int:
        """How many numbers `vector` gives, D."""
        return super().vector_size + (0 if self.sentences is None else self.sentences.width)

    def vector(self, obs: Mapping[str, Tensor]) -> Tensor:
        """The vector groups joined and normalised, then what it was told, if it is told anything, (N, D)."""
        seen_ND = super().vector(obs)
        return seen_ND if self.sentences is None else torch.cat([seen_ND, self.sentences(obs[GROUP])], dim=1)

    def number_of(self, sentence: str) -> int:
        """What stands for this sentence in the group "task"; ValueError if the policy knows nothing of it."""
        if self.sentences is None:
            raise ValueError(f"policy {self._title()}: was told nothing in its demonstrations; it reads no sentences")
        number = self.sentences.number_of(sentence)
        self.arguments["sentences"] = self.sentences.known
        return number

    def session(self, copies: int, chunk: int = CHUNK) -> ChunkSession:
        """Act in `copies` environments; the network is called with `chunk` rows at a time."""
        return ChunkSession(self, copies, chunk)

    def _read(
        self, groups: Mapping[str, Any], vectors: Sequence[str], others: Sequence[str] = (), rank: int = 1
    ) -> None:
        super()._read(groups, vectors, others, rank)
        self.normaliser = for_states(self.scaling, self.normaliser.size)

    def _hear(self, groups: Mapping[str, Any], sentences: Sequence[str] | None, language: Language) -> None:
        """Read which of these sentences is said, too, if there are any."""
        if not sentences:
            return
        if GROUP not in groups:
            raise ValueError(f"policy {self._title()}: no observation group {GROUP!r}: {near(GROUP, groups)}")
        self.inputs[GROUP] = GroupFacts.of(groups[GROUP])
        self.sentences = Sentences(sentences, language)


class ChunkSession:
    """A chunk policy in `copies` environments: one queue of actions and one plan for each of them.

    A copy whose queue is empty is the only one whose observation is looked at.
    """

    def __init__(self, policy: ChunkPolicy, copies: int, chunk: int = CHUNK) -> None:
        self.policy, self.copies, self.chunk = policy, copies, chunk
        self.plan_NHA = np.zeros((copies, policy.horizon, policy.action_size), np.float32)
        self.begins_N = np.ones(copies, bool)
        self._queue_NEA = np.zeros((copies, policy.execute, policy.action_size), np.float32)
        self._taken_N = np.full(copies, policy.execute)

    def begin(self, ids: np.ndarray | None = None) -> None:
        """Empty the queues and plans of these copies (None: all); no other one changes."""
        here = slice(None) if ids is None else ids
        self.plan_NHA[here], self.begins_N[here] = 0.0, True
        self._taken_N[here] = self.policy.execute

    def state_dict(self) -> dict[str, np.ndarray]:
        """All that is remembered of the copies, by name."""
        return {name: array.copy() for name, array in self._remembered().items()}

    def load_state_dict(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from `state_dict`."""
        for name, array in self._remembered().items():
            array[:] = arrays[name]

    def next_base(self, obs: Mapping[str, np.ndarray], ids: np.ndarray | None = None) -> np.ndarray:
        """Take the next action of each copy in `ids` from its queue, normalised, float32 (n, A).

        obs: one row per copy in `ids` (None: all, in order).
        """
        ids = np.arange(self.copies) if ids is None else np.asarray(ids)
        rows = {name: obs[name] for name in self.policy.reads}
        if any(len(values) != len(ids) for values in rows.values()):
            found = {name: len(values) for name, values in rows.items()}
            raise ValueError(f"a session needs one row of observations for each of {len(ids)} copies, got {found}")
        empty = np.flatnonzero(self._taken_N[ids] == self.policy.execute)
        if empty.size:
            self._refill({name: values[empty] for name, values in rows.items()}, ids[empty])
        base_NA = self._queue_NEA[ids, self._taken_N[ids]]
        self._taken_N[ids] += 1
        return base_NA

    def act(self, obs: Mapping[str, np.ndarray], ids: np.ndarray | None = None) -> np.ndarray:
        """The next action of each copy in its own units, within its bounds, float32 (n, A)."""
        base_NA = torch.from_numpy(self.next_base(obs, ids)).to(self.policy.device, self.policy.dtype)
        return self.policy.clipped(self.policy.actions.denormalise(base_NA)).float().cpu().numpy()

    def _refill(self, rows: Mapping[str, np.ndarray], ids: np.ndarray) -> None:
        """Predict anew for the copies `ids`; what is not carried out becomes their plan, shifted to the front."""
        execute = self.policy.execute
        chunk_NHA = in_chunks(self._predict, rows, self.plan_NHA[ids], self.begins_N[ids], chunk=self.chunk)
        self._queue_NEA[ids] = chunk_NHA[:, :execute]
        self._taken_N[ids] = 0
        self.plan_NHA[ids] = 0.0
        self.plan_NHA[ids, : self.policy.horizon - execute] = chunk_NHA[:, execute:]
        # Of a chunk that is carried out whole no plan is left.
        self.begins_N[ids] = execute == self.policy.horizon

    def _predict(self, rows: Mapping[str, np.ndarray], plan_NHA: np.ndarray, begins_N: np.ndarray) -> np.ndarray:
        policy, obs = self.policy, self.policy.tensors(rows)
        plan, begins = torch.from_numpy(plan_NHA), torch.from_numpy(begins_N)
        with policy.acting():
            history = History(plan.to(policy.device, policy.dtype), begins.to(policy.device), policy.noise(obs))
            return policy.chunk(obs, history).float().cpu().numpy()

    def _remembered(self) -> dict[str, np.ndarray]:
        return {"plan": self.plan_NHA, "begins": self.begins_N, "queue": self._queue_NEA, "taken": self._taken_N}
