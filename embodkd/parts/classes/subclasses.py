"""Classes divided into subclasses: along directions, at random or as the data know them, and soft labels over them.

Everywhere r (N, C, S) sums to 1 over the S subclasses of each class; output c * S + j is subclass j of class c.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from embodkd.core.sources.source import item_seeds
from embodkd.core.sources.splits import Splits
from embodkd.core.terms.base import precise
from embodkd.core.transfer import on_host, sent


def refined_target(logits_NC: Tensor, within_NCS: Tensor, *, temperature: float = 1.0) -> Tensor:
    """softmax(logits / temperature)_c * r_{c,j}: (N, C), (N, C, S) -> (N, C * S), detached.

    Its sum within a class is the class's probability. Source: Loo et al. 2024 (LELP, arXiv:2409.20449).
    """
    p_NC = torch.softmax(precise(logits_NC.detach()) / temperature, -1)
    return (p_NC.unsqueeze(-1) * within_NCS.detach()).flatten(1)


def along_directions(embedding_ND: Tensor, direction_CSD: Tensor, offset_CS: Tensor, temperature: float) -> Tensor:
    """r = softmax over S of (direction . h - offset) / temperature: the directions compete for the item, (N, C, S)."""
    scores_NCS = torch.einsum("nd,csd->ncs", precise(embedding_ND), direction_CSD) - offset_CS
    return torch.softmax(scores_NCS / temperature, -1)


def at_random(sample_id_N: Tensor, classes: int, subclasses: int, seed: int) -> Tensor:
    """A random subclass of each class for each item, one-hot, a function of (seed, class, sample id): (N, C, S)."""
    ids = on_host(sample_id_N).numpy()
    drawn_NC = torch.stack([torch.from_numpy(item_seeds(seed, c, ids) % subclasses) for c in range(classes)], 1)
    return sent(F.one_hot(drawn_NC, subclasses).to(torch.get_default_dtype()), sample_id_N.device)


def as_known(place_N: Tensor, label_N: Tensor, classes: int, subclasses: int) -> Tensor:
    """The item's own subclass `place` in its own class, one-hot; within the other classes all are equal: (N, C, S)."""
    own_NC1 = F.one_hot(label_N, classes).bool().unsqueeze(-1)
    return torch.where(
        own_NC1, F.one_hot(place_N, subclasses).to(torch.get_default_dtype()).unsqueeze(1), 1.0 / subclasses
    )


def known_places(data: Splits, subclasses: int, where: str) -> Tensor:
    """The place of each of the data's own subclasses within its class, indexed by the subclass's number.

    ValueError that begins with `where` if the training part has no field `subclass` or a class has too many.
    """
    fields = data.train.fields
    if "subclass" not in fields:
        raise ValueError(f"{where}: needs data with a field subclass, such as digits with parity=true")
    place_K = torch.zeros(int(fields["subclass"].max()) + 1, dtype=torch.int64)
    for c in range(data.classes):
        own = fields["subclass"][fields["label"] == c].unique()
        if len(own) > subclasses:
            raise ValueError(f"{where}: class {c} has {len(own)} subclasses in the data; ask for at least as many")
        place_K[own] = torch.arange(len(own))
    return place_K


def shared_information(within_NCS: Tensor, subclass_N: Tensor, label_N: Tensor) -> float:
    """Normalised mutual information, in [0, 1], of arg-max r of the item's class and its true subclass.

    Taken class by class and averaged, so that knowing the class alone gives 0.
    """
    from sklearn.metrics import normalized_mutual_info_score

    picked_NC = within_NCS.argmax(-1)
    pairs = [(subclass_N[label_N == c], picked_NC[label_N == c, c]) for c in range(within_NCS.shape[1])]
    return sum(float(normalized_mutual_info_score(*pair)) for pair in pairs) / len(pairs)
