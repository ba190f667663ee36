"""Exports that take too long for every change."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from embodkd.evaluation.export import export_model
from embodkd.models import load_model, make_model, save_model
from embodkd.models.artefact import read_inputs


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_an_efficientnet_answers_by_its_file_as_it_does(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    made = make_model("efficientnet_lite0", (1, 32, 32), 5, pretrained=False)
    save_model(tmp_path / "model", made, examples=torch.rand(16, 1, 32, 32))
    model, config = load_model(tmp_path / "model")
    inputs = read_inputs(tmp_path / "model", model)
    assert export_model(model, config, tmp_path / "model.onnx", examples=inputs).worst <= 1e-5
