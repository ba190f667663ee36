"""Demonstrations on disk in the LeRobotDataset v3.0 layout, written and read without the package lerobot.

    write_dataset(folder, recordings, groups, fps=10, task=task_record(spec), robot_type="panda")
    demos = read_dataset(folder)            # whoever wrote it

What LeRobot has no place for (our group names, units, episode seeds, the task) lies beside its files, in
meta/embodkd.json; a dataset without it is read by LeRobot's own names.
"""

from __future__ import annotations

from embodkd.data.lerobot.pictures import Memory, Pictures, resized
from embodkd.data.lerobot.reader import Reading, about, read_dataset
from embodkd.data.lerobot.recording import TASK, About, Demonstrations, Recording, together
from embodkd.data.lerobot.writer import write_dataset

__all__ = [
    "TASK",
    "About",
    "Demonstrations",
    "Memory",
    "Pictures",
    "Reading",
    "Recording",
    "about",
    "read_dataset",
    "resized",
    "together",
    "write_dataset",
]
