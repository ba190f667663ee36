"""Try a whole system at its full size without its hours: its commands are carried out in order, each on a little."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from embodkd.cli.overrides import parse
from embodkd.cli.verbs import find
from embodkd.evaluation.chains import read_chains
from embodkd.evaluation.tables.cell import Cell, Cells, with_needed
from embodkd.evaluation.tables.fill import call

# Two episodes, of which one is held out; one update; one iteration of whole episodes in two copies.
LITTLE: Mapping[str, Mapping[str, str]] = {
    "record": {"episodes": "2", "num_envs": "2"},
    "distill student demos=...": {
        "method.rounds": "1",
        "method.updates_per_round": "1",
        "method.batch_size": "2",
        "method.warmup": "0",
        "episodes": "0",
    },
    "train residual": {
        "steps": "1",
        "ppo.num_envs": "2",
        "ppo.actor_warmup": "0",
        "ppo.epochs": "1",
        "evaluate_episodes": "1",
        "episodes": "0",
    },
}


def check_commands(cells: Sequence[Cell]) -> None:
    """ValueError, naming the cell, for a command with a verb, a key or a choice that there is not."""
    for cell in cells:
        verb, rest = find(shlex.split(cell.command))
        if verb is None:
            raise ValueError(f"{cell.name}: no verb of embodkd begins {cell.command!r}")
        parse(verb, [*rest, "quiet=true"])


def little(command: str) -> list[str]:
    """The same command, all networks and settings at their size, on as little data and for as short as it takes.

    ValueError for a verb of which nobody has said how little that is.
    """
    verb, rest = find(shlex.split(command))
    if verb is None or verb.shown not in LITTLE:
        raise ValueError(f"{command!r}: a dry run knows {', '.join(LITTLE)}; say in LITTLE how little it takes")
    less = LITTLE[verb.shown]
    kept = [word for word in rest if word.partition("=")[0] not in less]
    return [*verb.words, *kept, *(f"{key}={value}" for key, value in less.items())]


def of_first_setting(cells: Cells) -> list[str]:
    """The names of the cells that have the setting of the first one."""
    first = next(iter(cells.values())).setting
    return [name for name, cell in cells.items() if cell.setting == first]


def try_chain(file: str | Path, names: Sequence[str], said: Callable[[str], Any] = print) -> None:
    """Carry out the commands of these cells of a file, and what they need, on a little each; nothing is stored.

    ValueError with its last lines for one that fails, as it would fail in earnest before its data matter.
    """
    with tempfile.TemporaryDirectory() as there:
        cells = read_chains(file, there)
        for name in with_needed(names, cells, lambda name: False):
            try:
                call([*little(cells[name].command), "quiet=true"])
            except RuntimeError as error:
                raise ValueError(f"{name}: {error}") from None
            said(f"{name}: can be built, and makes an update")
