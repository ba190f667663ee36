"""Run where lerobot and our plug-in are installed: a policy through LeRobot's own interface, on a dataset's frames.

Arguments: the policy's folder, the dataset, a file for the actions (F, A).
"""

import sys

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.factory import get_policy_class, make_policy, make_pre_post_processors
from lerobot.utils.import_utils import register_third_party_plugins

where, data, out = sys.argv[1:]
register_third_party_plugins()
config = PreTrainedConfig.from_pretrained(where)
config.pretrained_path = where
dataset = LeRobotDataset("somebody/arm", root=data, video_backend="pyav")
policy = make_policy(config, ds_meta=dataset.meta)
before, after = make_pre_post_processors(config, pretrained_path=where)
actions, episode = [], None
with torch.inference_mode():
    for frame in (dataset[k] for k in range(len(dataset))):
        if frame["episode_index"] != episode:
            episode = frame["episode_index"]
            policy.reset()
        seen = {name: value for name, value in frame.items() if name.startswith("observation.")}
        actions.append(after(policy.select_action(before({**seen, "task": frame["task"]})))[0].numpy())
policy = get_policy_class(config.type).from_pretrained(where)
seen = {name: value for name, value in dataset[0].items() if name.startswith("observation.")}
chunk = policy.predict_action_chunk(before({**seen, "task": dataset[0]["task"]}))
np.savez(out, actions=np.stack(actions), chunk=chunk.numpy())
