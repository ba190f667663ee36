"""From anchors to Gaussians (Scaffold-GS): three small networks that look at an anchor's features from where one is."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional


class Decoder(nn.Module):
    """Opacity, colour, size and rotation of `offsets` Gaussians for each anchor, as they are seen from one camera."""

    def __init__(self, features: int, offsets: int, hidden: int) -> None:
        super().__init__()
        self.offsets = offsets

        def network(outputs: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(features + 3, hidden), nn.ReLU(), nn.Linear(hidden, offsets * outputs))

        self.opacity, self.covariance, self.colour = network(1), network(7), network(3)

    def forward(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """opacity (N, A, K) in (-1, 1), colour (N, A, K, 3) in (0, 1), scale (N, A, K, 3) below the anchor's `size`,
        rotation (N, A, K, 4) of length 1.

        x: `input` (N, A, F + 3), an anchor's features and the direction from the camera to it, and `size` (N, A, 3).
        """
        input_NAD, size_NA3 = x["input"], x["size"]
        shape_NAK7 = self.covariance(input_NAD).unflatten(-1, (self.offsets, 7))
        return {
            "opacity": self.opacity(input_NAD).tanh(),
            "colour": self.colour(input_NAD).sigmoid().unflatten(-1, (self.offsets, 3)),
            "scale": size_NA3[:, :, None] * shape_NAK7[..., :3].sigmoid(),
            "rotation": functional.normalize(shape_NAK7[..., 3:], dim=-1),
        }
