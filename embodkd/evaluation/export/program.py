"""A robot that acts by a file of torch's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embodkd.evaluation.export.formats import MEMBER
from embodkd.policies.runner import Robot


class Program(Robot):
    """Like a Robot of an ONNX file, but the file gives all outputs at each call."""

    def __init__(self, file: Path, seed: int = 0) -> None:
        extra = {MEMBER: ""}
        self.program = torch.export.load(file, extra_files=extra).module()
        self.facts = json.loads(extra[MEMBER])
        self.random = np.random.default_rng(seed)
        self.begin()

    def run(self, outputs: list[str], fed: dict[str, Any]) -> list[np.ndarray]:
        """See Robot.run."""
        rows = [torch.from_numpy(np.array(fed[name])[None]) for name in self.facts["inputs"]]
        with torch.no_grad():
            found = dict(zip(self.facts["outputs"], self.program(*rows), strict=True))
        return [found[name][0].numpy() for name in outputs]
