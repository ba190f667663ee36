"""Convolutions are trained with channels last, except beside a layer whose gradient torch gets wrong that way."""

import pytest
import torch
from torch import nn

from embodkd.core import Player, Role, RunFolder, TensorData, Trainer, cross_entropy, fit
from embodkd.core.engine.layout import channels_last
from embodkd.core.runs.files import read_tensors


class Net(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))
        self.layers(torch.zeros(1, 3, 8, 8))

    def forward(self, pictures_NCHW):
        return {"logits": self.layers(pictures_NCHW)}


def last(module):
    return [
        layer.weight.is_contiguous(memory_format=torch.channels_last) and not layer.weight.is_contiguous()
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d)
    ]


def recipe(*networks):
    generator = torch.Generator().manual_seed(0)
    data = {
        "input": torch.rand(12, 3, 8, 8, generator=generator),
        "label": torch.randint(3, (12,), generator=generator),
    }

    def terms(batch, signals, **_):
        return {"label": cross_entropy(signals.logits_NC, batch.label_N)}

    player = Player(
        Role(networks[0]), terms, given={f"other{k}": Role(n, "frozen") for k, n in enumerate(networks[1:])}
    )
    return fit(player, TensorData(data), epochs=2, batch_size=6)


def test_all_networks_of_a_training_are_laid_out_and_learn_what_they_learn_otherwise(tmp_path, monkeypatch):
    def trained(folder):
        torch.manual_seed(0)
        student, teacher = (Net(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2)) for _ in range(2))
        with RunFolder.open(tmp_path / folder, {}, resume=False) as run:
            Trainer(run, quiet=True, checkpoint_s=0.0).fit(recipe(student, teacher))
        return student, teacher

    student, teacher = trained("last")
    assert last(student) == last(teacher) == [True, True]
    # a file has no layout
    newest = sorted((tmp_path / "last").rglob("*.safetensors"))[-1]
    assert all(value.is_contiguous() for value in read_tensors(newest).values() if isinstance(value, torch.Tensor))
    monkeypatch.setattr("embodkd.core.engine.trainer.channels_last", lambda modules: None)
    plain, _ = trained("plain")
    assert last(plain) == [False, False]
    for one, other in zip(student.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 4, 8])
def test_a_narrow_layer_with_strides_keeps_all_that_it_may_read_as_it_was(channels):
    narrow = nn.Conv2d(channels, 6, 1, stride=2)
    wide = Net(nn.Conv2d(3, channels, 3))
    channels_last([wide, narrow])
    assert last(nn.ModuleList([wide, narrow])) == [False, False]
    channels_last([wide, nn.Conv2d(channels, 6, 1), nn.Conv2d(16, 6, 1, stride=2)])
    assert last(wide) == [True]
    # a later stage that has such a layer gets them as it needs them
    channels_last([wide, narrow])
    assert last(nn.ModuleList([wide, narrow])) == [False, False]
