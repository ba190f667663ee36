"""Networks that act: a teacher on the simulator's state and students on cameras, points and joints."""

from __future__ import annotations

# Each import registers its policy by name.
from embodkd.policies.artefact import check_task, load_policy, save_policy, task_record
from embodkd.policies.base import POLICIES, Input, Policy, make_policy
from embodkd.policies.cameras import Blind, DepthCNN, RgbCNN
from embodkd.policies.mlp import MLP
from embodkd.policies.normaliser import RunningNormaliser
from embodkd.policies.pointnet import PointNet

__all__ = [
    "MLP",
    "POLICIES",
    "Blind",
    "DepthCNN",
    "Input",
    "PointNet",
    "Policy",
    "RgbCNN",
    "RunningNormaliser",
    "check_task",
    "load_policy",
    "make_policy",
    "save_policy",
    "task_record",
]
