"""Terms: pure functions of signals that give one value per item; every reduction over items is the trainer's."""

from embodkd.core.terms.base import TERMS, item_mean
from embodkd.core.terms.logits import cross_entropy, entropy, kl, soft_cross_entropy
from embodkd.core.terms.regression import smooth_l1, squared_error

__all__ = [
    "TERMS",
    "cross_entropy",
    "entropy",
    "item_mean",
    "kl",
    "smooth_l1",
    "soft_cross_entropy",
    "squared_error",
]
