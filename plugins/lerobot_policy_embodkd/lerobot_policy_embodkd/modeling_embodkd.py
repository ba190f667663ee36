"""The policy: what LeRobot observes goes into the exported file, what comes out goes to the robot in its units."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor
from torch.nn import functional

from lerobot_policy_embodkd.configuration_embodkd import EmbodkdConfig
from lerobot_policy_embodkd.runner import Robot

FILE = "policy.onnx"
TOLD = "task"


class EmbodkdPolicy(PreTrainedPolicy):
    """One runner of the file for each row of a batch; each remembers what it planned."""

    config_class = EmbodkdConfig
    name = "embodkd"

    def __init__(self, config: EmbodkdConfig, file: str | Path | None = None, **unused: Any) -> None:
        super().__init__(config)
        if file is None:
            raise ValueError("a policy of embodkd is made by embodkd and loaded by --policy.path=FOLDER")
        self.file = Path(file).read_bytes()
        self.robots = [Robot(self.file)]
        self.facts = self.robots[0].facts

    @classmethod
    def from_pretrained(
        cls, pretrained_name_or_path: str | Path, *, config: Any = None, **options: Any
    ) -> EmbodkdPolicy:
        """From a folder that `lerobot-embodkd` wrote, on this disk or on the hub."""
        where = Path(pretrained_name_or_path)
        if config is None:
            config = PreTrainedConfig.from_pretrained(pretrained_name_or_path, **options)
        file = where / FILE
        if not where.is_dir():
            from huggingface_hub import hf_hub_download

            file = Path(hf_hub_download(str(pretrained_name_or_path), FILE, revision=options.get("revision")))
        return cls(config, file).eval()

    def reset(self) -> None:
        """An episode begins: forget what was planned."""
        for robot in self.robots:
            robot.begin()

    def select_action(self, batch: dict[str, Any], **unused: Any) -> Tensor:
        """The next action of each row, (N, A), in the units of the demonstrations."""
        rows = self._observed(batch)
        while len(self.robots) < len(rows):
            self.robots.append(Robot(self.file))
        return torch.from_numpy(np.stack([robot.act(row) for robot, row in zip(self.robots, rows, strict=False)]))

    def predict_action_chunk(self, batch: dict[str, Any], **unused: Any) -> Tensor:
        """The actions that each row would carry out before it looks again, (N, E, A)."""
        return torch.stack([self.select_action(batch) for _ in range(self.facts["execute"])], dim=1)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict | None]:
        """Refuse to be trained."""
        raise NotImplementedError("embodkd trains its policies: embodkd distill student demos=...")

    def get_optim_params(self) -> dict:
        """Nothing is trained here."""
        return {}

    def _observed(self, batch: dict[str, Any]) -> list[dict[str, np.ndarray]]:
        """The groups that the file reads, row by row."""
        groups: dict[str, np.ndarray] = {}
        for name, (feature, start) in self.facts["places"].items():
            if name not in self.facts["inputs"]:
                continue
            if feature not in batch:
                raise ValueError(f"the policy reads {feature!r}, the robot gives {', '.join(map(str, batch))}")
            port = self.facts["inputs"][name]
            groups[name] = _group(batch[feature], tuple(port["shape"]), port["dtype"], start, feature)
        count = len(next(iter(groups.values())))
        if TOLD in self.facts["inputs"]:
            groups[TOLD] = np.array([[self._number(said)] for said in _sentences(batch.get(TOLD), count)])
        return [{name: values[row] for name, values in groups.items()} for row in range(count)]

    def _number(self, sentence: str) -> int:
        known = self.facts["sentences"]
        if sentence not in known:
            raise ValueError(f"the policy was never told {sentence!r}; it knows {json.dumps(known)}: say --task=...")
        return known.index(sentence)


def _group(values: Tensor, shape: tuple[int, ...], dtype: str, start: int, feature: str) -> np.ndarray:
    """A feature of LeRobot's as the policy learned from it: a part of a vector, a picture in bytes at its size."""
    values = values.detach().cpu()
    if dtype != "uint8":
        rows = values.reshape(len(values), -1)[:, start : start + shape[0]].float().numpy()
        if rows.shape[1] != shape[0]:
            raise ValueError(
                f"{feature!r} has {values[0].numel()} numbers, the policy reads {shape[0]} from {start} on"
            )
        return rows
    pictures = values.float() * (1.0 if values.dtype == torch.uint8 else 255.0)
    if pictures.shape[1] != shape[0]:
        raise ValueError(f"{feature!r} has {pictures.shape[1]} channels, the policy sees {shape[0]}")
    if pictures.shape[2:] != shape[1:]:
        pictures = functional.adaptive_avg_pool2d(pictures, shape[1:])
    return pictures.round().clamp(0, 255).byte().numpy()


def _sentences(said: Any, count: int) -> list[str]:
    return list(said) if isinstance(said, (list, tuple)) else [str(said or "")] * count
