"""A distillation that blows up is stopped by name, and nothing that is not finite is written over what is."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from toy import fingerprint

from embodkd.core import Optimiser, Player, Role, RunFolder, TensorData, Trainer, fit, squared_error
from embodkd.core.runs.artefact import write_artefact


def lesson(poisoned_at: int | None, batch_size: int = 8):
    """(model, recipe): three epochs of 8 items; the gradient of update `poisoned_at` is too large for any number."""
    torch.manual_seed(0)
    model, seen = nn.Linear(3, 2), []

    def terms(batch, s):
        seen.append(1)
        scale = 1e36 if len(seen) == poisoned_at else 1e-6
        return {"imitate": scale * squared_error(s.logits_NC, batch["target"])}

    fields = {"input": torch.rand(8, 3), "target": torch.rand(8, 2)}
    player = Player(Role(model), terms, optimiser=Optimiser("sgd", 1e4, momentum=0.0))
    return model, fit(player, TensorData(fields), epochs=3, batch_size=batch_size)


def train(folder, poisoned_at, resume=False, **options):
    model, recipe = lesson(poisoned_at, **options)
    with RunFolder.open(folder, {}, resume=resume) as run:
        Trainer(run, quiet=True, checkpoint_s=0.0).fit(recipe)
    return fingerprint(model)


def test_a_broken_weight_is_named_with_its_update_and_never_written(tmp_path):
    with pytest.raises(FloatingPointError, match=r"model\.0\.weight is not finite after update 3; .*is intact"):
        train(tmp_path / "run", 3)
    saved = sorted((tmp_path / "run" / "checkpoints").glob("*/tensors.safetensors"))
    assert [file.parent.name for file in saved] == ["step_1", "step_2"]
    for file in saved:
        assert all(torch.isfinite(v).all() for v in load_file(file).values() if v.is_floating_point())
    assert train(tmp_path / "run", None, resume=True) == train(tmp_path / "whole", None)


def test_within_an_epoch_the_next_update_names_it_and_does_not_blame_the_batch(tmp_path):
    words = r"update 2: .*'imitate' is not finite.*, and weight has not been since an update before this one"
    with pytest.raises(FloatingPointError, match=words):
        train(tmp_path / "run", 2, batch_size=2)


def test_an_artefact_with_a_broken_weight_leaves_the_former_one(tmp_path):
    def write(value):
        write_artefact(tmp_path / "m", {"a": torch.ones(2), "b": torch.tensor([1.0, value])}, {}, "")

    write(2.0)
    with pytest.raises(ValueError, match="m: b is not finite"):
        write(torch.nan)
    assert load_file(tmp_path / "m" / "model.safetensors")["b"].tolist() == [1.0, 2.0]
