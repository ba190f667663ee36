"""The expanded last layer: it answers with classes, whose probabilities are the sums of the subclasses'."""

import pytest
import torch
from torch import nn

from embodkd.core import Role, Signals
from embodkd.parts.networks.subclass_head import SubclassHead, expand_classifier

D, C, S = 6, 3, 4


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.classifier = nn.Linear(D, C)

    def forward(self, x):
        return {"logits": self.classifier(x)}


def test_class_probabilities_are_the_sums_over_subclasses():
    head = SubclassHead(D, C, S).double()
    x = torch.randn(7, D, dtype=torch.float64)
    summed = head.expanded(x).softmax(1).reshape(7, C, S).sum(2)
    torch.testing.assert_close(head(x).softmax(1), summed)


def test_subclasses_of_a_class_may_change_places():
    head, other = SubclassHead(D, C, S), SubclassHead(D, C, S)
    order = torch.cat([c * S + torch.randperm(S) for c in range(C)])
    other.expanded.weight.data, other.expanded.bias.data = head.weight[order].detach(), head.bias[order].detach()
    x = torch.randn(7, D)
    torch.testing.assert_close(head(x), other(x))


def test_expansion_is_a_function_of_its_key_and_happens_once():
    first, second = Small(), Small()
    for model in (first, second):
        torch.rand(3)
        assert expand_classifier(model, S, 5) == "classifier.expanded"
    assert torch.equal(first.classifier.weight, second.classifier.weight) and first.classifier.weight.shape == (
        C * S,
        D,
    )
    head = first.classifier
    assert expand_classifier(first, S, 6) == "classifier.expanded" and first.classifier is head
    s = Role(first, taps={"expanded": "classifier.expanded"}).signals(Signals(input=torch.randn(7, D)))
    assert s.logits.shape == (7, C) and s.expanded.shape == (7, C * S)


def test_one_subclass_leaves_the_model_as_it_is():
    model = Small()
    head = model.classifier
    assert expand_classifier(model, 1, 0) == "classifier" and model.classifier is head


def test_what_cannot_be_expanded_is_an_error():
    model = Small()
    expand_classifier(model, S, 0)
    with pytest.raises(ValueError, match="SubclassHead, not a linear layer"):
        expand_classifier(model, 2, 0)
    with pytest.raises(ValueError, match="no submodule 'classifier'"):
        expand_classifier(nn.Sequential(nn.Linear(2, 2)), 2, 0)
    with pytest.raises(ValueError, match="at least one subclass"):
        expand_classifier(Small(), 0, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_outputs_keep_logits_and_gradients_finite(dtype):
    head = SubclassHead(D, C, S).to(dtype)
    x = (1e4 * torch.randn(7, D)).to(dtype)
    x[0] = 0
    logits = head(x)
    logits.logsumexp(1).sum().backward()
    assert logits.dtype == torch.float32 and torch.isfinite(logits).all() and torch.isfinite(head.weight.grad).all()
