"""What an imitator of human hand motions is paid, and when it has lost its clip (AffordDex, stage 1, as released).

The paper's reward has squared distances and fewer terms; this is the one of the released code, by distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

# weight and steepness of exp(-steepness * error)
TERMS = {
    "wrist": (0.1, 40.0),
    "wrist_turn": (0.6, 1.0),
    "first": (0.6, 50.0),
    "second": (0.8, 40.0),
    "wrist_speed": (0.1, 1.0),
    "wrist_spin": (0.05, 1.0),
    "speed": (0.1, 1.0),
    "power": (0.05, 10.0),
    "wrist_power": (0.05, 2.0),
}
BEST = sum(weight for weight, _ in TERMS.values())  # 2.45: on the clip, without effort
LIMIT, SCALE, FIRST_STEPS = 0.15, 0.7, 50
FASTEST = {"wrist": 100.0, "spin": 200.0, "keypoints": 100.0, "joints": 200.0}


@dataclass(frozen=True)
class Errors:
    """How far a hand is from its clip, each (N,), never negative.

    wrist: m; wrist_turn: rad in [0, pi]; first, second: mean distances (m) of the keypoints near the palm and further
    out; wrist_speed (m/s), wrist_spin (rad/s), speed (m/s, of keypoints): mean absolute components of differences;
    power: sum over joints of |torque * speed|, W; wrist_power: |force . velocity| + |torque . spin|, W.
    """

    wrist: Tensor
    wrist_turn: Tensor
    first: Tensor
    second: Tensor
    wrist_speed: Tensor
    wrist_spin: Tensor
    speed: Tensor
    power: Tensor
    wrist_power: Tensor


def tracking_reward(errors: Errors) -> Tensor:
    """The sum (N,) of all terms, each in (0, its weight]; at most 2.45."""
    paid = [TERMS[f.name][0] * torch.exp(-TERMS[f.name][1] * getattr(errors, f.name)) for f in fields(errors)]
    return torch.stack(paid).sum(0)


def turn_between(quat_N4: Tensor, target_N4: Tensor) -> Tensor:
    """The angle (N,) between rotations, 2 acos |<q, target>| in [0, pi], whichever sign quaternions have."""
    return 2.0 * (quat_N4 * target_N4).sum(-1).abs().clamp(max=1.0).acos()


def tightening(frames: float) -> float:
    """The factor on the limits after `frames` frames of the simulator: 1 at the start, .7 in the end."""
    return 0.7 + 0.3 * (2.0 * math.e) ** (-frames / 3000.0)


def lost(errors: Errors, step_N: Tensor, frames: float) -> Tensor:
    """Whether each copy has lost its clip, bool (N,): keypoints too far away, once 50 steps of it are over.

    The reward itself does not change by it.
    """
    limit = LIMIT / SCALE * tightening(frames)
    return (step_N > FIRST_STEPS) & ((errors.first > limit) | (errors.second > limit))


def mad(wrist_N: Tensor, spin_N: Tensor, keypoints_N: Tensor, joints_N: Tensor) -> Tensor:
    """Whether a simulation has gone wrong, bool (N,), at any step: speeds in m/s and rad/s beyond all reason."""
    fast_N = (wrist_N > FASTEST["wrist"]) | (spin_N > FASTEST["spin"])
    return fast_N | (keypoints_N > FASTEST["keypoints"]) | (joints_N > FASTEST["joints"])


def start_frames(lengths_N: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Where each copy begins its clip, int64 (N,): any of the first 98 % of the frames, evenly."""
    share_N = torch.rand(len(lengths_N), generator=generator, dtype=torch.float64)
    return (share_N * 0.98 * lengths_N).long()
