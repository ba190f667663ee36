"""No name stands for two things: classes, and what the core's front door hands out.

Other functions are free: those of two modules that nobody imports together may well do the same to different things.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOOR = set(re.findall(r"import (\w+) as \1$", (ROOT / "embodkd/core/__init__.pyi").read_text(), flags=re.MULTILINE))
# name -> why two modules may call something of theirs so
SAME_IDEA = {"MLP": "the plain network, of classes and of actions: each is its registry's `mlp`"}


def places() -> dict[str, set[str]]:
    """Public class, or function of the front door -> the files that define it at their top level."""
    found = defaultdict(set)
    for top in ("embodkd", "envs", "policies"):
        for file in (ROOT / top).rglob("*.py"):
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                known = isinstance(node, ast.FunctionDef) and node.name in DOOR
                if (known or isinstance(node, ast.ClassDef)) and not node.name.startswith("_"):
                    found[node.name].add(str(file.relative_to(ROOT)))
    return found


def test_no_class_and_no_name_of_the_front_door_is_defined_twice() -> None:
    found = places()
    assert len(found) > 200 and found.keys() & DOOR
    twice = {name: sorted(files) for name, files in found.items() if len(files) > 1}
    assert twice.keys() == SAME_IDEA.keys(), twice
