"""How far two clouds of features are from each other, and the features of a data set that this is measured in.

The features are those of a small classifier that is trained on the data's own labels from a fixed seed: for digits they
say more than those of a network for photographs (the usual Inception). Figures of different data sets do not compare.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from embodkd.core import Splits, seeded
from embodkd.core.fingerprint import digest

WIDTH, UPDATES, BATCH, RATE = 32, 600, 64, 3e-3
_KNOWN: dict[str, Embedding] = {}


def frechet(a_ND: Tensor, b_MD: Tensor) -> float:
    """|mean_a - mean_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), S the covariances (Heusel et al. 2017, eq. 6).

    The trace of the root is the sum of the roots of the eigenvalues of S_a^(1/2) S_b S_a^(1/2), which is symmetric.
    """
    a_ND, b_MD = a_ND.double(), b_MD.double()
    mean_D = a_ND.mean(0) - b_MD.mean(0)
    a_DD, b_DD = (torch.atleast_2d(torch.cov(x.T)) for x in (a_ND, b_MD))
    value_D, vector_DD = torch.linalg.eigh(a_DD)
    root_DD = vector_DD * value_D.clamp(min=0.0).sqrt() @ vector_DD.T
    shared = torch.linalg.eigvalsh(root_DD @ b_DD @ root_DD).clamp(min=0.0).sqrt().sum()
    return float(mean_D.square().sum() + a_DD.trace() + b_DD.trace() - 2.0 * shared)


class Embedding(nn.Module):
    """data (N, *shape) -> {"embedding": (N, 32), "logits": (N, classes)}; points are their own embedding."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.points = len(shape) == 1
        if len(shape) == 3:
            first = [nn.Conv2d(shape[0], 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            first += [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
            inputs = 32 * 16
        else:
            inputs = math.prod(shape)
            first = [nn.Flatten()]
        self.layers = nn.Sequential(*first, nn.Linear(inputs, WIDTH), nn.ReLU())
        self.classifier = nn.Linear(WIDTH, classes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Both signals."""
        inner_ND = self.layers(x)
        return {"logits": self.classifier(inner_ND), "embedding": x if self.points else inner_ND}


def embedding_of(data: Splits, seed: int = 0) -> Embedding:
    """The features of `data`, on the CPU: trained once per process in float32, a function of the training part."""
    fields = data.train.fields
    key = digest([fields["input"], fields["label"], data.classes, seed], "data")
    if key not in _KNOWN:
        x_N, label_N = fields["input"].float(), fields["label"]
        with seeded(seed, 0xF1D), torch.enable_grad():
            made = Embedding(tuple(data.shape), data.classes).float()
            optimiser = torch.optim.Adam(made.parameters(), lr=RATE)
            for _ in range(UPDATES):
                rows_B = torch.randint(len(x_N), (BATCH,))
                loss = nn.functional.cross_entropy(made(x_N[rows_B])["logits"], label_N[rows_B])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        # asked in double precision: a figure shall not depend on how a batch was shared out
        _KNOWN[key] = made.eval().requires_grad_(False).double()
    return _KNOWN[key]


@torch.no_grad()
def embedded(embedding: Embedding, data: Tensor) -> dict[str, Tensor]:
    """Its signals of data in any precision on any device."""
    pieces = [embedding(piece) for piece in data.detach().cpu().double().split(1024)]
    return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
