"""What goes into a file: tensors by name, what comes out of them, and what a robot must know of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.policies import ChunkPolicy, Policy, ResidualPolicy
from embodkd.policies.chunk import History

HISTORY = {
    "plan": "what is left of the former chunk, normalised, then zeros: the former next_plan",
    "begins": "true where nothing is planned yet, as at the start of an episode; the plan is not looked at there",
    "noise": "standard normal numbers that a chunk is sampled from",
    "base": "the next actions of chunk, which action corrects",
}


@dataclass(frozen=True)
class Port:
    """An input: a row of this shape and dtype for each robot. names: of its single numbers, () where nobody says."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    unit: str = ""
    privileged: bool = False
    doc: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """A module from one tensor per port, in this order, to one per output, and the facts that go with it."""

    module: nn.Module
    ports: tuple[Port, ...]
    outputs: tuple[str, ...]
    facts: Mapping[str, Any]


class Deployed(nn.Module):
    """A policy as evaluation's sessions ask it, from what is seen and remembered to actions in their own units.

    `action` is (N, H, A), of which a robot carries out `execute`. A residual's is asked for every E control steps: it
    is (N, E, A), `base` corrected, which are the next E actions of `chunk`.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy
        plans: Policy = policy.base if isinstance(policy, ResidualPolicy) else policy
        self.plans = plans if isinstance(plans, ChunkPolicy) else None
        self.chunk = (self.plans.horizon if self.plans else 1, policy.action_size)
        self.execute = self.plans.execute if self.plans else 1
        self.every = policy.every if isinstance(policy, ResidualPolicy) else self.execute
        self.recalls = self.plans.recalls if self.plans else ()
        self.ports = (*(Port(**vars(seen)) for seen in policy.inputs.values()), *map(self._port, self._remembered()))
        first = "chunk" if isinstance(policy, ResidualPolicy) else "action"
        self.planned = (first, "next_plan") if "plan" in self.recalls else (first,)
        self.outputs = tuple(dict.fromkeys((*self.planned, "action")))

    def forward(self, *rows: Tensor) -> tuple[Tensor, ...]:
        """One tensor per output."""
        policy, given = self.policy, dict(zip((port.name for port in self.ports), rows, strict=True))
        given = {n: v.to(policy.dtype) if v.is_floating_point() else v for n, v in given.items()}
        obs = {name: given[name] for name in policy.reads}
        if self.plans is None:
            return (policy.clipped(policy(obs))[:, None].float(),)
        count = rows[0].shape[0]
        plan_NHA = given.get("plan", rows[0].new_zeros((count, *self.chunk), dtype=policy.dtype))
        begins_N = given.get("begins", rows[0].new_ones(count, dtype=torch.bool))
        chunk_NHA = self.plans.chunk(obs, History(plan_NHA, begins_N, given.get("noise")))
        rest_NRA, empty_NEA = chunk_NHA[:, self.execute :], torch.zeros_like(chunk_NHA[:, : self.execute])
        found = {"next_plan": torch.cat([rest_NRA, empty_NEA], dim=1)}
        if isinstance(policy, ResidualPolicy):
            found["chunk"], base_NEA = chunk_NHA, given["base"]
            action = policy.corrected(base_NEA, policy.correction(policy.seen(obs, base_NEA)))
        else:
            action = self.plans.actions.denormalise(chunk_NHA)
        found["action"] = policy.clipped(action)
        return tuple(found[name].float() for name in self.outputs)

    def _remembered(self) -> tuple[str, ...]:
        return (*self.recalls, "base") if isinstance(self.policy, ResidualPolicy) else self.recalls

    def _port(self, name: str) -> Port:
        shape = {"begins": (), "base": (self.every, self.policy.action_size)}.get(name, self.chunk)
        return Port(name, shape, "bool" if name == "begins" else "float32", doc=HISTORY[name])


def policy_graph(policy: Policy, meta: Mapping[str, Any]) -> Graph:
    """`policy` and its config.json as a graph; its facts are those that `Robot` reads, and those that people do.

    places: of a policy of demonstrations, group -> (feature of the dataset, its first number there). sentences: what
    the numbers in the group "task" stand for.
    """
    module = Deployed(policy)
    facts = {
        "policy": meta["policy"],
        "task": meta["task"],
        "control_hz": meta.get("control_hz"),
        "inputs": {port.name: {k: v for k, v in asdict(port).items() if k != "name"} for port in module.ports},
        "outputs": list(module.outputs),
        "action": meta["action"],
        "chunk": list(module.chunk),
        "execute": module.execute,
        "every": module.every,
        "plans": list(module.planned),
        "places": meta.get("extra", {}).get("places", {}),
        "sentences": list(module.plans.sentences.known) if module.plans and module.plans.sentences else [],
        "lineage": meta.get("lineage", {}),
    }
    return Graph(module, module.ports, module.outputs, facts)
