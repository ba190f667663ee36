"""The row of a run: what was judged, how it learned, what it costs; an evaluation alone has fewer of these."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from embodkd.core.runs.files import write_json
from embodkd.evaluation.outcome import is_finished, outcome

EPISODES = [{"success": True, "steps": 30}, {"success": True, "steps": 41}, {"success": False, "steps": 80}]
JUDGED = {"success_rate": 2 / 3, "successes": 2, "episodes": 3, "ci95": [0.2, 0.9], "failures": {"late": 1}}
MADE = {"git_commit": "abc", "minutes": 0.5, "versions": {"torch": "2"}}


@pytest.fixture
def run(tmp_path):
    """A finished training of 14 parameters, evaluated twice on its way."""
    write_json(tmp_path / "evaluation.json", {**JUDGED, "per_episode": EPISODES, "manifest": {**MADE, "minutes": 9}})
    write_json(tmp_path / "manifest.json", {**MADE, "finished": "now", "memory_mib": 700, "cpus": 2})
    rows = [{"step": 0, "time_s": 6.0, "evaluation/success": 0.1}, {"step": 5, "time_s": 9}]
    rows.append({"step": 10, "time_s": 90.0, "evaluation/success": 0.6})
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "policy").mkdir()
    save_file({"a": np.zeros((3, 4)), "b": np.zeros(2)}, tmp_path / "policy" / "model.safetensors")
    return tmp_path


def test_a_training_has_its_curve_cost_and_origin(run):
    row = outcome(run)
    assert row["success_rate"] == 2 / 3 and row["minutes"] == 0.5 and row["commit"] == "abc"
    assert row["steps_to_success"] == 35.5 and row["parameters"] == 14 and row["memory_mib"] == 700
    assert row["curve"] == [[0, 0.1, 0.1], [10, 1.5, 0.6]]
    assert row["manifest"]["cpus"] == 2 and row["manifest"]["versions"] == {"torch": "2"}
    assert "corrections" not in row
    corrections = {"reach": {"mm": 1.0, "degrees": 2.0, "share": 1.0}}
    write_json(run / "corrections.json", corrections)
    assert outcome(run)["corrections"] == corrections


def test_what_its_sensors_are_worth_is_in_the_row(run):
    assert "ablation" not in outcome(run)
    rows = [{"group": "depth", "way": "blank", "success_rate": 0.0, "verdict": "worse"}]
    write_json(run / "ablation.json", {"intact": {}, "rows": rows, "unused": ["proprio"], "manifest": {}})
    assert outcome(run)["ablation"] == {"rows": rows, "unused": ["proprio"]}


def test_an_evaluation_alone_is_a_row_too(run, tmp_path):
    for name in ("manifest.json", "metrics.jsonl", "policy/model.safetensors"):
        (run / name).unlink()
    assert is_finished(run)
    row = outcome(run)
    assert row["minutes"] == 9 and row["commit"] == "abc" and not {"curve", "parameters", "memory_mib"} & set(row)


def test_a_training_is_finished_when_it_says_so(run):
    assert is_finished(run)
    write_json(run / "manifest.json", MADE)
    assert not is_finished(run)
    assert not is_finished(run / "nowhere")
