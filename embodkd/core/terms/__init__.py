"""Terms: pure functions of signals that give one value per item; every reduction over items is the trainer's."""

from embodkd.core.terms.balanced import balanced_kl
from embodkd.core.terms.base import TERMS, item_mean
from embodkd.core.terms.channels import channel_correlation
from embodkd.core.terms.class_mean import class_mean_kl, offset_entropy
from embodkd.core.terms.contrast import info_nce
from embodkd.core.terms.correlation import correlation
from embodkd.core.terms.decoupled import decoupled_kl
from embodkd.core.terms.direction import norm_direction
from embodkd.core.terms.logits import cross_entropy, entropy, kl, soft_cross_entropy
from embodkd.core.terms.neighbours import affinity_error, neighbour_kl
from embodkd.core.terms.nontarget import label_probability, nontarget_cross_entropy
from embodkd.core.terms.pairs import affinity, pair_contrast
from embodkd.core.terms.regression import smooth_l1, squared_error
from embodkd.core.terms.relation import angle_relation, distance_relation
from embodkd.core.terms.similarity import similarity
from embodkd.core.terms.sparse import sparse_cross_entropy
from embodkd.core.terms.views import nt_xent

__all__ = [
    "TERMS",
    "affinity",
    "affinity_error",
    "angle_relation",
    "balanced_kl",
    "channel_correlation",
    "class_mean_kl",
    "correlation",
    "cross_entropy",
    "decoupled_kl",
    "distance_relation",
    "entropy",
    "info_nce",
    "item_mean",
    "kl",
    "label_probability",
    "neighbour_kl",
    "nontarget_cross_entropy",
    "norm_direction",
    "nt_xent",
    "offset_entropy",
    "pair_contrast",
    "similarity",
    "smooth_l1",
    "soft_cross_entropy",
    "sparse_cross_entropy",
    "squared_error",
]
