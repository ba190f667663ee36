"""Snapshots: the states that a model went through, kept on disk, which answer later one after the other."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from embodkd.core.config.ranges import Count, Whole
from embodkd.core.modules.taps import Tap
from embodkd.core.recipe import Context
from embodkd.core.role import Role
from embodkd.core.runs.files import atomic_folder, read_tensors, remove_folder, write_tensors
from embodkd.core.signals import Signals
from embodkd.core.transfer import on_host
from embodkd.core.view import View


class Snapshots:
    """It records by `Stage.every` (`Every(100, snapshots)`) or as a step between stages, and answers as Role "frozen".

    A state is known by the number of the run's updates when it was taken (`Context.update`), so that one that is taken
    again after a kill takes the place of the former, and those that lie behind it, of work about to be repeated, go.
    They lie in the run's folder, in memory where there is none, and are copies.

    of: the model whose states are taken. order: "forwards" answers by the oldest first, "backwards" by the newest.
    interval: updates of the stage that each of them answers for, the last one for all that are left; `update` names the
    field of the batch that says which update it is (`Player.scheduled={"update": "update"}`). first: the place in that
    order to begin with. view, output, taps, temperature: as of a Role.
    """

    def __init__(
        self,
        of: nn.Module,
        *,
        interval: Count = 1,
        order: Literal["forwards", "backwards"] = "forwards",
        first: Whole = 0,
        update: str = "update",
        name: str = "snapshots",
        view: str | Sequence[str] | View | None = None,
        output: str = "logits",
        taps: Mapping[str, str | Tap] | None = None,
        temperature: float = 1.0,
    ) -> None:
        if order not in ("forwards", "backwards"):
            raise ValueError(f"{name}: order {order!r} is not one of forwards, backwards")
        if interval < 1:
            raise ValueError(f"{name}: interval must be at least 1, got {interval}")
        self._of, self._interval, self._order, self._first = of, interval, order, first
        self._update, self._name = update, name
        model = copy.deepcopy(of).requires_grad_(False)
        self._role = Role(model, "frozen", view=view, output=output, taps=taps, temperature=temperature)
        self._states: dict[int, Mapping[str, Tensor] | Path] = {}
        self._loaded: tuple[int, torch.device] | None = None

    @property
    def updates(self) -> list[int]:
        """When the states were taken, in the order in which they answer."""
        return sorted(self._states, reverse=self._order == "backwards")

    def __call__(self, context: Context) -> dict[str, float]:
        """Take the state that the model is in; returns how many there are."""
        state = {name: value.detach().clone() for name, value in self._of.state_dict().items()}
        if context.folder is None:
            self._states[context.update] = state
        else:
            path = self._folder(context.folder) / f"state_{context.update}"
            with atomic_folder(path) as aside:
                write_tensors(aside / "state.safetensors", state)
            self.restore(context)
        for later in [number for number in self._states if number > context.update]:
            found = self._states.pop(later)
            if isinstance(found, Path):
                remove_folder(found)
        self._loaded = None
        return {f"{self._name}/states": float(len(self._states))}

    def restore(self, context: Context) -> None:
        """Find what lies in the run's folder; where there is none, as of several processes without a run folder the
        others are, take the state that the model is in.
        """
        if context.folder is None:
            self(context)
        else:
            paths = self._folder(context.folder).glob("state_*")
            self._states = {int(path.name[6:]): path for path in paths}
            self._loaded = None

    def place(self, update: int) -> int:
        """Which of them, counted in their order, answers at this update; ValueError if none was taken."""
        if not self._states:
            raise ValueError(
                f"{self._name} is empty: what answers by it must come after the stage or step that records it"
            )
        return min(self._first + update // self._interval, len(self._states) - 1)

    def state(self, place: int) -> dict[str, Tensor]:
        """Parameters and buffers of the one at this place, on the CPU if it lies on disk; copies."""
        found = self._states[self.updates[place]]
        if isinstance(found, Path):
            return read_tensors(found / "state.safetensors")
        return {name: value.clone() for name, value in found.items()}

    def signals(self, batch: Signals) -> Signals:
        """What the state whose turn it is says of `batch`."""
        place = self.place(int(on_host(batch[self._update]).flatten()[0]))
        wanted = (self.updates[place], batch.device)
        if wanted != self._loaded:
            # assigned, not copied into what is there: numbers stay of the type that they were taken in
            self._role.model.load_state_dict(self.state(place), assign=True)
            self._role.model.to(batch.device)
            self._loaded = wanted
        return self._role.signals(batch)

    def handed_to(self, model: nn.Module, place: int = 0) -> Handed:
        """A step that puts `model` into the state at this place."""
        return Handed(self, model, place)

    def fingerprint(self) -> dict[str, Any]:
        """Everything that its answers depend on."""
        states = [self.state(place) for place in range(len(self._states))]
        told = {"interval": self._interval, "first": self._first, "update": self._update}
        role = {name: mark for name, mark in self._role.fingerprint().items() if name != "weights"}
        return {**role, **told, "states": states}

    def _folder(self, run: Path) -> Path:
        return run / "snapshots" / self._name


class Handed:
    """A step: `model`, which may learn on from there, gets a state of some snapshots."""

    def __init__(self, snapshots: Snapshots, model: nn.Module, place: int) -> None:
        self._snapshots, self._model, self._place = snapshots, model, place

    def __call__(self, context: Context) -> None:
        """Hand it over."""
        self._model.load_state_dict(self._snapshots.state(self._place))
