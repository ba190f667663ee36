"""The file of a classifier answers as it does, for every registered model, or is not kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from every_network import SMALL

from embodkd.evaluation.export import classifier, export_model
from embodkd.models import load_model, make_model, save_model
from embodkd.models.artefact import EXAMPLES, read_inputs


def carried(name: str, folder: Path):
    """(model, its config, the inputs in its folder)."""
    options, shape = SMALL[name]
    torch.manual_seed(0)
    save_model(folder, make_model(name, shape, 5, **options), examples=torch.rand(EXAMPLES + 3, *shape))
    model, config = load_model(folder)
    return model, config, read_inputs(folder, model)


# The largest one takes a minute: tests/faults has it.
@pytest.mark.parametrize("name", [name for name in SMALL if name != "efficientnet_lite0"])
def test_every_model_answers_by_its_file_as_it_does(name: str, tmp_path: Path) -> None:
    model, config, inputs = carried(name, tmp_path / "model")
    assert inputs.shape == (EXAMPLES, *model.shape)
    found = export_model(model, config, tmp_path / "model.pt2", "torch", examples=inputs)
    assert found.worst <= 1e-5 and found.items == EXAMPLES


@pytest.mark.parametrize(("error", "items"), [(1e-3, 1), (np.nan, 1), (np.nan, EXAMPLES)])
def test_a_file_that_answers_differently_is_not_kept(tmp_path: Path, monkeypatch, error: float, items: int) -> None:
    """Whether alone or all at once."""
    model, config, inputs = carried("cnn", tmp_path / "model")
    answers = classifier._answers

    def wrong(file: Path, format: str, input: np.ndarray) -> np.ndarray:
        return answers(file, format, input) + np.float32(error if len(input) == items else 0.0)

    monkeypatch.setattr(classifier, "_answers", wrong)
    with pytest.raises(ValueError, match="answers differently"):
        export_model(model, config, tmp_path / "model.onnx", "onnx", examples=inputs)
    assert not (tmp_path / "model.onnx").exists()
    monkeypatch.undo()
    assert "on 16 items" in str(export_model(model, config, tmp_path / "model.onnx", "onnx", examples=inputs))
