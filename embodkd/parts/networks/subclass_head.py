"""Other last layers for a classifier: several outputs per class, answered as one."""

from __future__ import annotations

from torch import Tensor, nn

from embodkd.core.modules.places import submodule
from embodkd.core.rng import seeded
from embodkd.core.terms.base import precise


class SubclassHead(nn.Module):
    """A linear layer `expanded` with S outputs per class that gives one logit per class, log sum_j exp(z_cj).

    Its softmax over classes is the sum of the softmax over all S * C outputs within each class. Output c * S + j is
    subclass j of class c. (N, D) -> (N, C).
    """

    def __init__(self, width: int, classes: int, subclasses: int) -> None:
        super().__init__()
        self.classes, self.subclasses = classes, subclasses
        self.expanded = nn.Linear(width, classes * subclasses)

    @property
    def weight(self) -> Tensor:
        """(C * S, D)."""
        return self.expanded.weight

    @property
    def bias(self) -> Tensor:
        """(C * S,)."""
        return self.expanded.bias

    def forward(self, embedding_ND: Tensor) -> Tensor:
        """The classes' logits."""
        return precise(self.expanded(embedding_ND)).unflatten(-1, (self.classes, self.subclasses)).logsumexp(-1)


def expand_classifier(model: nn.Module, subclasses: int, *key: int) -> str:
    """Give `model` a new `classifier` with that many outputs per class; the dotted name of the layer with all outputs.

    Its first weights depend on `key` alone. One subclass leaves the model as it is, and so does a second call.
    ValueError if the model has no linear layer `classifier`.
    """
    if subclasses < 1:
        raise ValueError(f"a class needs at least one subclass, got {subclasses}")
    head = submodule(model, "classifier")
    if isinstance(head, SubclassHead) and head.subclasses == subclasses:
        return "classifier.expanded"
    if not isinstance(head, nn.Linear):
        raise ValueError(f"{type(model).__name__}.classifier is a {type(head).__name__}, not a linear layer to expand")
    if subclasses == 1:
        return "classifier"
    with seeded(*key):
        model.classifier = SubclassHead(head.in_features, head.out_features, subclasses).to(head.weight)
    return "classifier.expanded"
