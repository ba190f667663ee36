"""Where a hand touches an object: a number per point, and the network that predicts it (UniDexGrasp, section 4.1).

ContactNet sees a grasp that is not quite right and says where a right one would touch; the grasp is then moved until it
touches there (`adapt.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from embodkd.parts.grasps.points import PointFeatures

STEEPNESS = 60.0  # per metre: 1 cm from the surface counts .71
BINS = 10
_NEAR_ZERO = 1e-8  # squared metres: the root has a gradient at the surface


def contact_label(distance: Tensor) -> Tensor:
    """Contact in [0, 1] of object points by their distance (m) from the hand's nearest point: 1 where they touch."""
    return 2.0 - 2.0 * (STEEPNESS * distance).sigmoid()


def contact_of(signed_distance: Tensor) -> Tensor:
    """The same of a grasp that is being moved, by signed distance (m): .997 at the surface, less on both sides."""
    return 2.0 - 2.0 * (STEEPNESS * (signed_distance.square() + _NEAR_ZERO).sqrt()).sigmoid()


def bin_of(contact: Tensor) -> Tensor:
    """Which of ten bins a contact falls into, int64."""
    return (BINS * contact).long().clamp(0, BINS - 1)


def likeliest(logits_NPB: Tensor) -> Tensor:
    """The middle of the likeliest bin (N, P): what a grasp is moved towards."""
    return (logits_NPB.argmax(-1) + 0.5) / BINS


def expected(logits_NPB: Tensor) -> Tensor:
    """The mean of the bins' middles (N, P)."""
    middle_B = (torch.arange(BINS, device=logits_NPB.device) + 0.5) / BINS
    return (logits_NPB.softmax(-1) * middle_B).sum(-1)


class ContactNet(nn.Module):
    """Clouds of object (N, P, 3) and hand (N, Q, 3), metres, one frame -> logits of each object point's bin (N, P, 10).

    The features of both clouds are added, and stand beside those of each point.
    """

    def __init__(self, feature: int = 1024, widths: tuple[int, ...] = (512, 256, 128)) -> None:
        super().__init__()
        self.object, self.hand = PointFeatures(size=feature), PointFeatures(size=feature)
        sizes = [64 + feature, *widths]
        layers: list[nn.Module] = []
        for size_in, size_out in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(size_in, size_out), nn.ReLU()]
        self.head = nn.Sequential(*layers, nn.Linear(sizes[-1], BINS))

    def forward(self, object_NP3: Tensor, hand_NQ3: Tensor) -> Tensor:
        """The logits."""
        local_NPL, of_object_NF = self.object(object_NP3)
        both_NF = of_object_NF + self.hand(hand_NQ3)[1]
        return self.head(torch.cat([local_NPL, both_NF[:, None].expand(-1, local_NPL.shape[1], -1)], -1))


def contact_loss(logits_NPB: Tensor, label_NP: Tensor) -> Tensor:
    """Cross-entropy of the bins (N, P)."""
    return nn.functional.cross_entropy(logits_NPB.transpose(1, 2), bin_of(label_NP), reduction="none")
