"""What the largest published settings need in bytes, hours and machines, on paper: prints docs/scale.md.

    python -m benchmarks.scale > docs/scale.md

Nothing is run. Rates are those of stored results, whose file is named beside each; every other number has its formula.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
HEAD = """# On paper: the largest published settings
What they need in bytes, hours and machines, and what runs them. Made by `python -m benchmarks.scale > docs/scale.md`;
nothing here was run. Hours are of one core or one graphics card; divide by how many there are.
"""
CORES, CARDS = 64, 8
"""Of one large machine."""
CARD_BYTES = 80e9
"""What an H100 holds, by its data sheet."""
CARD_FLOPS, CARD_SHARE = 989e12, 0.4
"""An H100's dense bf16 operations a second, by its data sheet, and the share of them that a large model gets."""
BF16, INT16, FLOAT32, INT32, INT64 = 2, 2, 4, 4, 8
"""Bytes."""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_control(), "", *_language(), "", *_pictures(), ""])


def core_hours(steps: float, per_core_second: float) -> float:
    """Of one core, for so many control steps."""
    return steps / per_core_second / 3600


def card_hours(operations: float) -> float:
    """Of one graphics card, for so many floating-point operations."""
    return operations / (CARD_FLOPS * CARD_SHARE) / 3600


def top_k_bytes(items: float, k: int, value: int, index: int) -> float:
    """Of the k largest answers of each item, value and class."""
    return items * k * (value + index)


def _control() -> Iterator[str]:
    steps, objects = 1e9, 3200
    rates = {
        "peg_hole, simulation alone": (_simulated(), "results/benchmarks.json, `step / raw mj_step, 256 copies`"),
        "peg_hole, PPO with its judging": (_peg(), "results/benchmarks.json, `PPO to 90 % / SB3's PPO, cpu`"),
        "hand_lift, PPO with its judging": (_hand(), "results/ppo_ablation.json, arm `all`, as if on one core"),
    }
    yield f"## Reinforcement learning: {objects:,} objects and {_power(steps)} steps"
    yield f"core-hours = steps / (steps per core-second) / 3600; one machine has {CORES} cores."
    yield ""
    yield from _table(
        ("rate of", "steps per core-second", "source", "core-hours", f"hours on {CORES} cores"),
        [
            (name, _round(rate), source, _round(core_hours(steps, rate)), _round(core_hours(steps, rate) / CORES))
            for name, (rate, source) in rates.items()
        ],
    )
    copies, n_steps, columns = 16 * objects // 4, 16, 117 + 37 + 26 + 5
    rollout = copies * n_steps * columns * FLOAT32
    yield ""
    count = steps / (copies * n_steps)
    yield f"- Bytes: {copies:,} copies x {n_steps} steps x {columns} numbers (proprioception 117, privileged 37,"
    yield f"  action 26, five of PPO's own) x {FLOAT32} bytes = {_bytes(rollout)} a rollout, of {count:,.0f}."
    yield f"- Runs it: `embodkd train teacher task=hand_lift steps=1000000000 ppo.num_envs={copies}`, for one"
    yield f"  object: a task of {objects:,} meshes is not here. Seeds and arms on many machines:"
    yield "  `embodkd study FILE jobs=ray:auto`."


def _language() -> Iterator[str]:
    parameters, tokens, k = 7e9, 1e9, 100
    operations = 2 * parameters * tokens
    yield f"## Language: a teacher of 7B parameters answers {_power(tokens)} tokens"
    yield "card-hours = 2 x parameters x tokens / (operations per second x share) / 3600."
    yield ""
    yield from _table(
        ("what", "formula", "comes to"),
        [
            ("forward passes", f"2 x 7e9 x 1e9 / ({CARD_FLOPS:.3g} x {CARD_SHARE}) / 3600", _hours(operations)),
            (
                f"top-{k} answers on disk",
                f"tokens x {k} x ({BF16} value + {INT32} token)",
                _bytes(top_k_bytes(tokens, k, BF16, INT32)),
            ),
            ("the teacher in memory", f"7e9 x {BF16}", _bytes(parameters * BF16)),
            (
                "all answers, which nobody keeps",
                f"tokens x 128,256 x {BF16}",
                _bytes(tokens * 128_256 * BF16),
            ),
        ],
    )
    yield ""
    yield f"- Machines: one with {CARDS} cards, {card_hours(operations) / CARDS:.1f} hours; one card holds the teacher."
    yield f"- Runs it: {_run_by('teacher_hacking')}."
    yield ""
    yield from _shared_out(parameters)


def state_bytes(parameters: float, processes: int) -> float:
    """What each process holds of a student that learns by Adam in float32: weights, gradient and two moments."""
    return 4 * FLOAT32 * parameters / processes


def _shared_out(parameters: float) -> Iterator[str]:
    layers = 32
    yield "### A student, or a teacher, of 7B parameters that does not fit on one card"
    yield "bytes of each process = parameters x 4 x 4 (float32 weights, gradient, two moments of Adam) / processes, and"
    yield f"one of {layers} layers whole while it is at work; all of it, {_bytes(parameters * FLOAT32)}, for a method"
    yield "that taps the student. What lies outside layers, embeddings and head, is whole from forward to backward;"
    yield "activations come on top."
    yield ""
    block = 2 * parameters / layers * FLOAT32
    yield from _table(
        ("processes", "student", "gathered layer and its gradient", f"fits in {_bytes(CARD_BYTES)}", "frozen teacher"),
        [
            (
                str(processes),
                _bytes(state_bytes(parameters, processes)),
                _bytes(block if processes > 1 else 0.0),
                "yes" if state_bytes(parameters, processes) + block < CARD_BYTES else "no",
                _bytes(parameters * FLOAT32 / processes),
            )
            for processes in (1, 2, CARDS)
        ],
    )
    yield ""
    yield f"- Machines: one with {CARDS} cards. Each process has the model whole in the machine's memory at the start"
    yield f"  and at the end: {_bytes(parameters * FLOAT32)} a process, {_bytes(CARDS * parameters * FLOAT32)} in all."
    yield f"- Runs it: `torchrun --nproc-per-node {CARDS} -m embodkd.cli distill student data=... model=causal_lm"
    yield "  model.pretrained=ID teacher=runs/... method=... trainer.device=cuda trainer.precision=bf16"
    yield "  trainer.shard=all`; `trainer.shard=teachers` where the student fits and the teacher does not."
    yield f"- Checkpoints: in parts, {_bytes(3 * FLOAT32 * parameters)} in all, read by any number of processes."


def _pictures() -> Iterator[str]:
    images, epochs, k, forward = 14_197_122, 300, 100, 2 * 61.6e9
    items = images * epochs
    yield "## Pictures: ImageNet-21k, a teacher's top-100 logits of 300 epochs"
    yield "Every epoch sees each picture through another augmentation, so every epoch has answers of its own."
    yield ""
    yield from _table(
        ("what", "formula", "comes to"),
        [
            ("answers", f"{images:,} x {epochs}", f"{items:.3g}"),
            ("packed", f"answers x {k} x ({BF16} value + {INT16} class)", _bytes(top_k_bytes(items, k, BF16, INT16))),
            (
                "as `Bank` stores top-k today",
                f"answers x {k} x ({FLOAT32} + {INT64})",
                _bytes(top_k_bytes(items, k, FLOAT32, INT64)),
            ),
            (
                "the teacher's passes (ViT-L/16, 61.6 G multiply-adds)",
                f"answers x 2 x 61.6e9 / ({CARD_FLOPS:.3g} x {CARD_SHARE}) / 3600",
                _hours(items * forward),
            ),
        ],
    )
    yield ""
    days = card_hours(items * forward) / CARDS / 24
    yield f"- Machines: one with {CARDS} cards, {days:.1f} days for the answers, once for all students."
    yield f"- Runs it: {_run_by('tinyvit')}."


def _run_by(slug: str) -> str:
    there = (ROOT / "configs/full" / f"{slug}.yaml").exists()
    return f"`embodkd reproduce {slug} full=true`" if there else f"no config yet; it would be configs/full/{slug}.yaml"


def _line(name: str) -> Mapping[str, Any]:
    lines = json.loads((ROOT / "results/benchmarks.json").read_text())["lines"]
    return next(line for line in lines if line["name"] == name)


def _simulated() -> float:
    return float(_line("step / raw mj_step, 256 copies")["details"]["contenders"]["embodkd"]["per_cpu_second"])


def _peg() -> float:
    details = _line("PPO to 90 % / SB3's PPO, cpu")["details"]
    spent = details["contenders"]["embodkd"]["cpu_seconds"]
    return median(steps / seconds for steps, seconds in zip(details["steps"]["embodkd"], spent, strict=True))


def _hand() -> float:
    tables = json.loads((ROOT / "results/ppo_ablation.json").read_text())["tables"]
    rows = [row for table in tables.values() for row in table if row["cell"].startswith("all/")]
    return 300_000 / median(60 * row["minutes"] for row in rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _bytes(count: float) -> str:
    for name, unit in (("TB", 1e12), ("GB", 1e9)):
        if count >= unit:
            return f"{count / unit:,.3g} {name}" if count < 1000 * unit else f"{count / unit:,.0f} {name}"
    return f"{count / 1e6:,.3g} MB"


def _hours(operations: float) -> str:
    return f"{_round(card_hours(operations))} card-hours"


def _round(number: float) -> str:
    """Two digits: no rate is known to more."""
    return f"{float(f'{number:.2g}'):,.10g}"


def _power(number: float) -> str:
    exponents = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    return f"10{str(len(f'{number:.0f}') - 1).translate(exponents)}"


if __name__ == "__main__":
    print(page(), end="")
