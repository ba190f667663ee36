"""Run where lerobot is installed: its reader and DataLoader on a dataset of ours. Arguments: folder, file to write."""

import sys

import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

folder, out = sys.argv[1:]
ahead = {"action": [0.0, 0.1, 0.2]}  # a window of three actions at 10 Hz
dataset = LeRobotDataset("ours/recorded", root=folder, delta_timestamps=ahead, video_backend="pyav")
found: dict[str, list[np.ndarray]] = {}
for batch in torch.utils.data.DataLoader(dataset, batch_size=16, shuffle=False, num_workers=0):
    for name, value in batch.items():
        values = value.numpy() if isinstance(value, torch.Tensor) else np.array(value)
        found.setdefault(name, []).append(values)
np.savez(out, **{name: np.concatenate(values) for name, values in found.items()})
