"""Every registered policy, small, with weights and ranges that matter, and an episode that it saw."""

from __future__ import annotations

import numpy as np
import torch
from embodkd.envs import Group
from embodkd.policies import Policy, make_policy
from embodkd.policies.residual import last_linear

from embodkd.core.sources.action import ActionFacts

ACTIONS, STEPS = 3, 11
GROUPS = {
    group.name: group
    for group in (
        Group("proprio", (4,), False, "rad", "joints"),
        Group("privileged", (2,), True, "m", "the truth"),
        Group("wrist_depth", (1, 16, 16), False, "0..255", "depth", "uint8"),
        Group("wrist_rgb", (3, 16, 16), False, "0..255", "colour", "uint8"),
        Group("front_rgb", (3, 16, 16), False, "0..255", "colour", "uint8"),
        Group("points", (32, 3), False, "m", "cloud"),
    )
}
CNN = {"channels": (4, 4), "hidden": (8,)}
SMALL = {
    "blind": {"hidden": (8,)},
    "camera_chunk": {**CNN, "horizon": 2},
    "depth_cnn": CNN,
    # One level above that of a warm start, so that the two starts differ, and as few calls as that allows.
    "diffusion": {"vectors": ("proprio",), "widths": (8,), "horizon": 4, "execute": 2, "steps": 2},
    "mlp": {"hidden": (8,)},
    "mlp_chunk": {"width": 8, "blocks": 1, "horizon": 3},
    "point_transformer": {"patches": 3, "width": 8, "blocks": 1, "heads": 2, "hidden": (8,)},
    "pointnet": {"widths": (4, 8), "hidden": (8,)},
    "residual": {
        "base": "mlp_chunk",
        "base_arguments": {"width": 8, "blocks": 1, "horizon": 4},
        "every": 2,
        "hidden": (8,),
    },
    "rgb_cnn": CNN,
}
META = {"policy": "any", "task": {"name": "toy"}, "control_hz": 20.0, "action": {"low": -1, "high": 1}}


def small(name: str) -> Policy:
    """The policy `name`, which gives degrees if it was trained on demonstrations."""
    generator = np.random.default_rng(0)
    torch.manual_seed(0)
    policy = make_policy(name, GROUPS, ACTIONS, **SMALL[name])
    plans = getattr(policy, "base", policy)
    if hasattr(plans, "fit_normalisers"):
        seen = {name: generator.normal(size=(50, *GROUPS[name].shape)).astype(np.float32) for name in plans.vectors}
        shown = generator.uniform(-1, 1, (50, ACTIONS)) * (30.0, 90.0, 0.5) + (10.0, 0.0, 3.0)
        plans.actions.frozen = plans.normaliser.frozen = False
        plans.fit_normalisers(seen, shown.astype(np.float32))
        policy.acts(ActionFacts.of(ACTIONS, units="degree", low=-60.0, high=80.0))
    if hasattr(policy, "base"):
        torch.nn.init.normal_(last_linear(policy.head).weight)
    return policy.eval()


def episode(policy: Policy, seed: int = 0) -> dict[str, np.ndarray]:
    """What it saw: group -> (STEPS, *shape)."""
    generator = np.random.default_rng(seed)
    return {
        name: generator.integers(0, 256, (STEPS, *seen.shape), np.uint8)
        if seen.is_image
        else generator.normal(size=(STEPS, *seen.shape)).astype(np.float32)
        for name, seen in policy.inputs.items()
    }
