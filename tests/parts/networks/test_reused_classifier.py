"""A network with another's last layer: sizes, what learns, what answers."""

import pytest
import torch
from torch import nn

from embodkd.parts.networks.reused_classifier import Borrowed, shrunk


class Backbone(nn.Module):
    reads = "input"

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 4, 3, padding=1)
        self.classifier = nn.Linear(4, 3)

    def forward(self, x):
        map_NDHW = self.layer(x)
        embedding = map_NDHW.mean((2, 3))
        return {"logits": self.classifier(embedding), "embedding": embedding, "map": map_NDHW}


def borrowed(size=(3, 3)):
    torch.manual_seed(0)
    other = nn.Linear(10, 5)
    return Borrowed(Backbone(), 4, other, size), other, torch.randn(6, 1, 8, 8)


def test_it_answers_through_the_other_layer_in_the_other_space():
    model, other, x = borrowed()
    s = model(x)
    assert s["map"].shape == (6, 10, 3, 3) and s["own"].shape == (6, 4) and (s["map"] >= 0).all()
    torch.testing.assert_close(s["embedding"], s["map"].mean((2, 3)))
    torch.testing.assert_close(s["logits"], other(s["embedding"]))
    assert model.reads == "input" and model.classes == 5


def test_neither_the_borrowed_layer_nor_the_unused_one_gets_a_gradient_and_the_lender_keeps_its_own():
    model, other, x = borrowed()
    model(x)["logits"].sum().backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    assert not {n for n in with_gradient if "classifier" in n} and {"backbone.layer.weight"} < with_gradient
    assert not model.classifier.weight.requires_grad and other.weight.requires_grad
    assert model.classifier.weight.data_ptr() != other.weight.data_ptr()


def test_maps_shrink_to_a_smaller_size_by_averages_and_never_grow():
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(shrunk(x, (4, 4)), nn.functional.avg_pool2d(x, 2))
    assert shrunk(x, (8, 8)) is x and shrunk(x, (16, 16)) is x and shrunk(x, (4, 9)) is x
    assert borrowed((16, 16))[0](torch.randn(2, 1, 8, 8))["map"].shape == (2, 10, 8, 8)


def test_a_factor_that_leaves_no_channel_is_refused():
    with pytest.raises(ValueError, match="factor"):
        Borrowed(Backbone(), 4, nn.Linear(10, 5), (3, 3), factor=11)
