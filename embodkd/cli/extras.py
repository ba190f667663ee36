"""The extras of the distribution: what each gives, which packages it brings, whether they are here."""

from __future__ import annotations

import re
import sys
from importlib import metadata

GIVES = {
    "bullet": "PyBullet as a second engine, engine=bullet",
    "diffusion": "diffusion policies, student=diffusion",
    "export": "policies as ONNX files, format=onnx",
    "gl": "MuJoCo's own renderer",
    "hand": "the Shadow hand, task=hand_lift and task=grasp",
    "language": "texts as data and models of them; sentences by all-MiniLM-L6-v2, student.language=minilm",
    "lerobot": "datasets of demonstrations, recorded and learned from",
    "vision": "data sets of real pictures, and resnet, vit and efficientnet_lite0",
    "objects": "meshes to grasp, task.objects=FOLDER",
    "speech": "a voice that speaks and a listener that writes it down, data=piper",
    "ray": "tables on many machines, jobs=ray",
    "trackers": "tracker=mlflow, trackio or wandb",
    "dev": "tests, linter and types of embodkd itself",
}
"""Extra -> what one can do with it; a test holds the names to those of pyproject.toml."""
ANY_OF = frozenset({"trackers"})
"""Extras of which each package is of use by itself."""


def packages_of(extra: str) -> list[str]:
    """The distributions that pip installs for an extra, as its metadata says."""
    needs = metadata.requires("embodkd") or []
    found = (re.match(rf"([\w.-]+).*;.*\bextra == ['\"]{extra}['\"]", line) for line in needs)
    return [match[1] for match in found if match]


def is_here(package: str) -> bool:
    """Whether a distribution is installed; nothing is imported."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def remedy(extra: str) -> str:
    """The command that brings an extra, or why there is none."""
    if extra == "bullet" and sys.version_info >= (3, 12):
        return "PyBullet has no wheel for this Python: use 3.11 for engine=bullet; all else works without"
    return f"pip install 'embodkd[{extra}]'"
