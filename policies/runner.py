"""Acts as a policy does, from its exported file alone: needs onnxruntime and numpy. A policy's card shows this file."""

from __future__ import annotations

import json

import numpy as np


class Robot:
    """`begin()` where an episode starts, then `act(obs)` at every control step."""

    def __init__(self, file: str | bytes, seed: int = 0) -> None:
        import onnxruntime

        self.net = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        self.facts = json.loads(self.net.get_modelmeta().custom_metadata_map["embodkd"])
        self.partly, self.random = onnxruntime.RunOptions(), np.random.default_rng(seed)
        self.partly.only_execute_path_to_fetches = True
        self.begin()

    def begin(self) -> None:
        """Nothing is planned yet."""
        self.actions: list[np.ndarray] = []
        self.base: list[np.ndarray] = []
        self.plan, self.begins = np.zeros(self.facts["chunk"], np.float32), True

    def act(self, obs: dict[str, np.ndarray], noise: np.ndarray | None = None) -> np.ndarray:
        """The next action (A,) after seeing `obs` (name -> array); noise: like the plan, for it to begin with."""
        if not self.actions:
            execute, every, chunk = (self.facts[key] for key in ("execute", "every", "chunk"))
            drawn = self.random.standard_normal(chunk, np.float32) if noise is None else noise
            fed = {**obs, "plan": self.plan, "begins": self.begins, "noise": drawn, "base": self.plan[:every]}
            if not self.base:
                planned, *rest = self.run(self.facts["plans"], fed)
                self.base, self.begins, self.plan = list(planned[:execute]), False, rest[0] if rest else self.plan
            self.actions, self.base = self.base[:every], self.base[every:]
            if "base" in self.facts["inputs"]:
                self.actions = list(self.run(["action"], {**fed, "base": self.actions})[0])
        return self.actions.pop(0)

    def run(self, outputs: list[str], fed: dict) -> list[np.ndarray]:
        """Some outputs of the file, for one robot."""
        rows = {name: np.asarray(fed[name])[None] for name in self.facts["inputs"]}
        return [found[0] for found in self.net.run(outputs, rows, self.partly)]
