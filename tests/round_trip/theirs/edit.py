"""Run where lerobot is installed: its own tools cut a dataset up and join it again. Arguments: dataset, folder."""

import sys
from pathlib import Path

from lerobot.datasets.dataset_tools import delete_episodes, merge_datasets, split_dataset
from lerobot.datasets.lerobot_dataset import LeRobotDataset

source, out = sys.argv[1], Path(sys.argv[2])
whole = LeRobotDataset("somebody/whole", root=source)
count = whole.meta.total_episodes
delete_episodes(whole, [1], output_dir=out / "deleted", repo_id="somebody/deleted")
halves = {"first": [0], "rest": list(range(1, count))}
parts = split_dataset(whole, halves, output_dir=out)
merge_datasets([parts["rest"], parts["first"]], "somebody/merged", output_dir=out / "merged")
