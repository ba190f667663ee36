"""docs/architecture.md describes the house as it is: the files, folders and classes that it names exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
SPANS = re.findall(r"`([^`\n]+)`", PAGE)
# Where a path on the page may begin.
TOPS = (ROOT, ROOT / "embodkd", ROOT / "embodkd/core", ROOT / "embodkd/evaluation/reproduce")
# What runs leave behind is not in the repository.
MADE = ("runs/", "checkpoints/", "policy/", "demos/")


def test_files_and_folders_that_it_names_exist() -> None:
    tree = re.search(r"^## Layout\n```\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert tree is not None
    named = [*SPANS, *re.findall(r"[\w./]+(?:\.pyi?|/)(?=[\s,;:.)]|$)", tree[1])]
    paths = [n for n in named if re.fullmatch(r"[\w./-]+(?:\.pyi?|\.toml|/)", n) and not n.startswith(MADE)]
    assert len(paths) > 40
    inside = [
        *TOPS,
        *(p for p in (ROOT / "embodkd").rglob("*") if p.is_dir() and p.name != "__pycache__"),
        ROOT / "envs",
    ]
    missing = [path for path in paths if not any((top / path).exists() for top in inside)]
    assert not missing


def test_what_the_seams_are_called_exists() -> None:
    defined = {
        node.name
        for top in ("embodkd", "envs", "policies")
        for file in (ROOT / top).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }
    defined |= {file.stem for file in (ROOT / "embodkd").rglob("*.py")}
    seams = PAGE[PAGE.index("## The seams") :]
    names = set(re.findall(r"`([A-Z][A-Za-z]+)`", seams)) | set(re.findall(r"`([a-z]+_[a-z_]+)`", seams))
    settings = {"fine_tune", "layer_decay", "decay_biases", "keep_moments", "judged_as"}
    values = {*settings, "state_dict"}  # torch's own
    assert len(names) > 20
    assert not names - defined - values
