"""Where something happens in what is seen: boundaries of events, by the change from frame to frame alone or learned.

Stands in for the DDM-Net of DualVLA: a convolution over time that is trained on a few labelled trajectories.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

TOLERANCE = 2  # frames


def changes(seen_TF: np.ndarray) -> np.ndarray:
    """How much frames (T, F) differ from those before, root mean square, (T,); 0 at the first."""
    flat_TF = seen_TF.reshape(len(seen_TF), -1).astype(np.float64)
    change_T = np.zeros(len(flat_TF))
    change_T[1:] = np.sqrt((np.diff(flat_TF, axis=0) ** 2).mean(axis=1))
    return change_T


def peaks(signal_T: np.ndarray, threshold: float) -> np.ndarray:
    """Boundaries, bool (T,): not below `threshold`, higher than the frame before and not lower than the one after."""
    before_T, after_T = np.full(len(signal_T), -np.inf), np.full(len(signal_T), -np.inf)
    before_T[1:], after_T[:-1] = signal_T[:-1], signal_T[1:]
    return (signal_T >= threshold) & (signal_T > before_T) & (signal_T >= after_T)


def untrained(seen_TF: np.ndarray, deviations: float = 1.0) -> np.ndarray:
    """Boundaries without learning, bool (T,): peaks of change that are `deviations` above the mean."""
    change_T = changes(seen_TF)
    return peaks(change_T, max(change_T.mean() + deviations * change_T.std(), 1e-9))


def boundary_f1(told_T: np.ndarray, true_T: np.ndarray, tolerance: int = TOLERANCE) -> float:
    """F1 of boundaries, each matched with at most one true one within `tolerance` frames, the earliest first.

    1 where neither has any.
    """
    told, true = np.flatnonzero(told_T), np.flatnonzero(true_T)
    if not len(told) and not len(true):
        return 1.0
    matched, k = 0, 0
    for frame in told:
        while k < len(true) and true[k] < frame - tolerance:
            k += 1
        if k < len(true) and true[k] <= frame + tolerance:
            matched, k = matched + 1, k + 1
    return 2.0 * matched / (len(told) + len(true))


class EventDetector(nn.Module):
    """Features of frames (N, T, F) -> logits (N, T) of a boundary there: three convolutions over time.

    What it sees of a frame is how its features differ from the frame before and after; so a scene that stands still is
    the same whatever it shows.
    """

    def __init__(self, features: int, width: int = 32, kernel: int = 5) -> None:
        super().__init__()
        sizes = (2 * features, width, width)
        layers: list[nn.Module] = []
        for size_in, size_out in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Conv1d(size_in, size_out, kernel, padding="same"), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv1d(width, 1, kernel, padding="same"))

    def forward(self, seen_NTF: Tensor) -> Tensor:
        """The logits."""
        change_NTF = torch.diff(seen_NTF, dim=1, prepend=seen_NTF[:, :1])
        ahead_NTF = torch.cat([change_NTF[:, 1:], torch.zeros_like(change_NTF[:, :1])], 1)
        return self.layers(torch.cat([change_NTF, ahead_NTF], -1).transpose(1, 2)).squeeze(1)


def event_loss(logits_NT: Tensor, boundary_NT: Tensor, there_NT: Tensor) -> Tensor:
    """Cross-entropy per trajectory (N,), a mean over its frames; all boundaries together count as much as the rest."""
    label_NT = boundary_NT.to(logits_NT.dtype)
    positive = (label_NT * there_NT).sum().clamp(min=1.0)
    weight = ((1.0 - label_NT) * there_NT).sum().clamp(min=1.0) / positive
    each_NT = nn.functional.binary_cross_entropy_with_logits(logits_NT, label_NT, pos_weight=weight, reduction="none")
    return (each_NT * there_NT).sum(1) / there_NT.sum(1).clamp(min=1)


def detected(logits_NT: Tensor, probability: float = 0.5) -> np.ndarray:
    """Boundaries, bool (N, T): peaks of the probability that reach `probability`."""
    return np.stack([peaks(row, probability) for row in logits_NT.detach().sigmoid().double().cpu().numpy()])
