"""Sequences of different lengths and a network over them, for what is said about tokens."""

from __future__ import annotations

import torch
from torch import nn

from embodkd.core import Player, Role, TensorData

VOCABULARY = 5


class Tokens(nn.Module):
    """Logits of the next token, (N, T, V), in double precision."""

    def __init__(self, seed=0, width=6):
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(VOCABULARY, width, dtype=torch.float64)
        self.head = nn.Linear(width, VOCABULARY, dtype=torch.float64)

    def forward(self, token_NT):
        return {"logits": self.head(self.embed(token_NT).cumsum(1))}


def sequences(n=23, longest=7, padding=0):
    """n sequences of 1 to `longest` tokens, and so much more padding, which holds other tokens each time."""
    g = torch.Generator().manual_seed(4)
    token_NT = torch.randint(VOCABULARY, (n, longest), generator=g)
    rubbish = torch.randint(VOCABULARY, (n, padding))
    length_N = 1 + torch.arange(n) % longest
    mask_NT = torch.arange(longest + padding) < length_N[:, None]
    return TensorData({"input": torch.cat([token_NT, rubbish], 1), "mask": mask_NT})


def nll(logits_NTV, token_NT):
    """Of each token where it stands, (N, T)."""
    return -logits_NTV.log_softmax(-1).gather(-1, token_NT[..., None])[..., 0]


def token_mean(student, **player):
    """A player whose loss is a mean over all tokens of the batch."""
    return Player(
        Role(student), lambda batch, s: {"nll": nll(s["logits"], batch["input"])}, mass={"nll": "mask"}, **player
    )
