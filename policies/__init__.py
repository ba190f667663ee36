"""Networks that act: teachers on the simulator's state, students on cameras, points and joints, chunks of actions."""

from __future__ import annotations

# Each import registers its policy by name.
from embodkd.policies.artefact import learned_from, load_policy, save_policy, task_record
from embodkd.policies.base import POLICIES, Policy, make_policy
from embodkd.policies.camera_chunk import CameraChunk
from embodkd.policies.cameras import Blind, DepthCNN, RgbCNN
from embodkd.policies.chunk import ChunkPolicy, ChunkSession
from embodkd.policies.diffusion import DiffusionPolicy
from embodkd.policies.fit import check_task
from embodkd.policies.minmax import MinMaxNormaliser
from embodkd.policies.mlp import MLP
from embodkd.policies.mlp_chunk import MLPChunk
from embodkd.policies.normaliser import RunningNormaliser
from embodkd.policies.point_transformer import PointTransformer
from embodkd.policies.pointnet import PointNet
from embodkd.policies.residual import ResidualPolicy, residual_on
from embodkd.policies.session import Session, session_of

__all__ = [
    "MLP",
    "POLICIES",
    "Blind",
    "CameraChunk",
    "ChunkPolicy",
    "ChunkSession",
    "DepthCNN",
    "DiffusionPolicy",
    "MLPChunk",
    "MinMaxNormaliser",
    "PointNet",
    "PointTransformer",
    "Policy",
    "ResidualPolicy",
    "RgbCNN",
    "RunningNormaliser",
    "Session",
    "check_task",
    "learned_from",
    "load_policy",
    "make_policy",
    "residual_on",
    "save_policy",
    "session_of",
    "task_record",
]
