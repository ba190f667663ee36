"""The page of what cannot be run here says what its script prints, and the script's formulas are right."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from embodkd.envs import make_task

from benchmarks import scale

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_script_prints() -> None:
    stored = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
    assert stored == scale.page(), "python -m benchmarks.scale > docs/scale.md"


def test_stored_answers_take_the_bytes_that_an_array_of_them_has() -> None:
    packed = np.dtype([("value", np.float16, 100), ("index", np.int16, 100)])
    assert scale.top_k_bytes(7, 100, scale.BF16, scale.INT16) == np.zeros(7, packed).nbytes
    banked = np.dtype([("value", np.float32, 100), ("index", np.int64, 100)])
    assert scale.top_k_bytes(7, 100, scale.FLOAT32, scale.INT64) == np.zeros(7, banked).nbytes


def test_a_class_of_imagenet_21k_fits_in_the_number_that_holds_it() -> None:
    assert np.iinfo(np.int16).max >= 21_841


def test_hours_are_the_inverse_of_the_rates() -> None:
    assert scale.core_hours(3600 * 250.0, 250.0) == pytest.approx(1.0)
    assert scale.card_hours(3600 * 0.4 * 989e12) == pytest.approx(1.0)


def test_the_rates_are_those_of_the_files_that_the_page_names() -> None:
    page = scale.page()
    named = set(re.findall(r"results/[\w.]+", page))
    assert named == {"results/benchmarks.json", "results/ppo_ablation.json"}
    lines = {line["name"] for line in json.loads((ROOT / "results/benchmarks.json").read_text())["lines"]}
    assert {"step / raw mj_step, 256 copies", "PPO to 90 % / SB3's PPO, cpu"} <= lines
    assert all(f"`{name}`" in page for name in ("step / raw mj_step, 256 copies", "PPO to 90 % / SB3's PPO, cpu"))


def test_a_rollout_has_the_hands_own_sizes() -> None:
    spec = make_task("hand_lift", 1).spec
    sizes = [spec.groups["proprio"].shape[0], spec.groups["privileged"].shape[0], spec.action_size]
    assert "proprioception {}, privileged {}, action {},".format(*sizes) in " ".join(scale.page().split())


def test_bytes_of_a_student_are_those_that_adam_makes_it_hold():
    layer = torch.nn.Linear(30, 40, bias=False)
    optimiser = torch.optim.Adam(layer.parameters())
    layer(torch.ones(2, 30)).sum().backward()
    optimiser.step()
    (slots,) = optimiser.state.values()
    held = [layer.weight, layer.weight.grad, slots["exp_avg"], slots["exp_avg_sq"]]
    assert scale.state_bytes(1200, 1) == sum(value.nbytes for value in held) == 4 * scale.state_bytes(1200, 4)
