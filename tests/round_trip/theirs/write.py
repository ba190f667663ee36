"""Run where lerobot is installed: its own writer makes a dataset of an arm. Arguments: folder, "video" or "image"."""

import sys

import so101
from lerobot.datasets.lerobot_dataset import LeRobotDataset

folder, kind = sys.argv[1:]
vector = {"dtype": "float32", "shape": (6,), "names": so101.NAMES}
picture = {"dtype": kind, "shape": (so101.HEIGHT, so101.WIDTH, 3), "names": ["height", "width", "channels"]}
cameras = {f"observation.images.{camera}": so101.pictures(camera) for camera in so101.CAMERAS}
made = LeRobotDataset.create(
    "somebody/arm",
    fps=so101.FPS,
    features={"observation.state": vector, "action": vector, **dict.fromkeys(cameras, picture)},
    root=folder,
    robot_type="so101_follower",
    use_videos=kind == "video",
)
states, actions = so101.numbers()
frame = 0
for episode, length in enumerate(so101.LENGTHS):
    for _ in range(length):
        seen = {name: pictures[frame] for name, pictures in cameras.items()}
        told = so101.SENTENCES[episode % 2]
        made.add_frame({"observation.state": states[frame], "action": actions[frame], **seen, "task": told})
        frame += 1
    made.save_episode(parallel_encoding=False)
made.finalize()
