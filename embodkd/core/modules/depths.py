"""How deep a parameter lies below its model's output, read from its name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from os.path import commonprefix

# Words that come before the number of a block within a block of a longer chain: stages of blocks.
_CHAINS = {"block", "blocks", "layer", "layers", "stage", "stages", "resblocks", "h", "features"}
_NUMBERED = re.compile(rf"({'|'.join(sorted(_CHAINS))})_?\d+")
_TOWER = re.compile(r"(text|vision|visual|image|audio|speech)(_|$)")
_FIRST = re.compile(r"embed|stem|token|position|(^|[._])(wte|wpe|pos)([._]|$)")


def depths(names: Iterable[str]) -> dict[str, int]:
    """Blocks between each parameter and the output: 0 for a head and what else stands behind the last block, 1 for the
    last block, and one more than the first block has for embeddings and the stem.

    names: of all parameters of one model, in the model's order. A block is what shares a number in its names
    ("blocks.3", "encoder.layer.3", "layer3"); a second number right behind, or behind a word for a chain of blocks,
    numbers the blocks of a stage ("layers.1.blocks.0", "layer3.0"). What stands before the first block is the stem;
    parameters of the model itself, which torch lists first whatever they are for, belong to it if they speak of an
    embedding, token or position. Towers (names that begin with "text_model", "visual", ...) are counted apart, and
    "helper." stands behind everything.
    """
    names = list(names)
    found = {name: 0 for name in names if name.startswith("helper.")}
    own = [name for name in names if name not in found]
    towers: dict[str, list[str]] = {}
    prefix = _shared(own)
    for name in own:
        first = name.removeprefix(prefix).partition(".")[0]
        towers.setdefault(first if _TOWER.match(first) else "", []).append(name)
    for members in towers.values():
        found |= _of_tower(members)
    return {name: found[name] for name in names}


def _of_tower(names: list[str]) -> dict[str, int]:
    blocks, prefix = {name: _block(name) for name in names}, _shared(names)
    # In the order in which they appear: chains follow each other, and blocks in a chain, as the model has them.
    order = {block: k for k, block in enumerate(dict.fromkeys(b for b in blocks.values() if b))}
    top, before, found = len(order), True, {}
    for name in names:
        block = blocks[name]
        if block:
            before = False
            found[name] = top - order[block]
            continue
        own = "." not in name.removeprefix(prefix)
        stem = _FIRST.search(name) is not None or (before and not own)
        found[name] = top + 1 if stem and order else 0
    return found


def _block(name: str) -> str:
    """What names its block begin with; "" where it is in none."""
    parts = name.split(".")
    numbers = [k for k, part in enumerate(parts) if part.isdigit() or _NUMBERED.fullmatch(part)]
    if not numbers or _FIRST.search(".".join(parts[: numbers[0]])):
        return ""
    end = numbers[0] + 1
    if len(numbers) > 1 and (numbers[1] == end or (numbers[1] == end + 1 and parts[end] in _CHAINS)):
        end = numbers[1] + 1
    return ".".join(parts[:end])


def _shared(names: list[str]) -> str:
    """What all names begin with, up to a dot."""
    start = commonprefix(names)
    return start[: start.rfind(".") + 1]
