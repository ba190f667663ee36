"""A mistake on the command line gives one line that names what is wrong and what is nearest, and exit code 2."""

from __future__ import annotations

import subprocess
import sys

import pytest

WRONG = {
    "trian teacher": ["trian", "'train'"],
    "train techer": ["techer", "'teacher'"],
    "train teacher task=peg_hol": ["task", "peg_hol", "'peg_hole'"],
    "train teacher +task=peg_hol": ["peg_hol", "'peg_hole'"],
    "train teacher -m task=peg_hole,pick_lif": ["pick_lif", "'pick_lift'"],
    "train teacher sed=1": ["sed", "'seed'"],
    "train teacher +sed=1": ["+sed", "'seed'"],
    "train teacher ++ppo.gama=0.9": ["ppo.gama", "'ppo.gamma'"],
    "train teacher ~ppo.gama": ["ppo.gama", "'ppo.gamma'"],
    "train teacher task.object=box": ["task.object", "task=peg_hole has"],
    "train teacher task=hand_lift task.robot=panda": ["task.robot", "task=hand_lift has"],
    "train teacher --mulirun seed=0,1": ["--mulirun", "'--multirun'"],
    "train teacher --experimental-rerun x.pkl": ["--experimental-rerun"],
    "train teacher seed": ["seed", "key=value"],
    "train teacher seed=[": ["seed=["],
    "distill student teacher=x student=depth_cn": ["depth_cn", "'depth_cnn'"],
    "distill student teacher=x method=daggr": ["daggr", "'dagger'"],
    "distill student teacher=x method.round=2": ["method.round", "'method.rounds'"],
    "distill student": ["teacher=..."],
    "evaluate": ["policy=..."],
    "evaluate policy=x task.randomness=high": ["task=grasp|hand_lift|", "|pick_lift"],
    "evaluate policy=x episods=3": ["episods", "'episodes'"],
    "train teacher data=digts": ["data", "digts", "'digits'"],
    "train teacher data=digits task=peg_hole": ["'task'", "does not go with data="],
    "train teacher data=digits ppo.gamma=0.9": ["'ppo'", "does not go with data="],
    "train teacher data=digits modl=mlp": ["modl", "'model'"],
    "train teacher data=digits model.hiden=[3]": ["model.hiden", "'model.hidden'"],
    "train teacher data=digits data.tran=3": ["data.tran", "'data.train'"],
    "train teacher data=digits method.rounds=3": ["method.rounds", "method=supervised has"],
    "train teacher model=mlp": ["'model'", "data=digits|"],
    "train teacher budget.epochs=3": ["'budget'", "data=digits|"],
    "distill student data=digits teacher=x student=blind": ["'student'", "does not go with data="],
    "distill student teacher=x model.hidden=[3]": ["'model'", "data=digits|"],
    "methods shw": ["'shw'", "show"],
    "methods show": ["show dagger"],
    "methods show dager": ["dager", "'dagger'"],
    "completion bsh": ["bsh", "'bash'"],
}
# These are only found out by the verb itself.
LATE = {
    "evaluate policy=nowhere": ["nowhere", "no such"],
    "distill student teacher=nowhere": ["nowhere", "no such"],
    "distill student data=digits": ["kd", "needs a teacher"],
    "distill student data=digits teacher=nowhere": ["nowhere", "no such model"],
    "distill student data=digits method=dagger": ["'dagger'", "in a simulated task"],
    "train teacher data=digits data.train=5000": ["5000"],
    "train teacher data=digits model=cnn model.widths=[1,1,1,1,1,1]": ["cnn", "widths"],
    "reproduce nowher": ["nowher", "nkd_uskd"],
    "reproduce nowhere.yaml": ["nowhere.yaml"],
    "record policy=nowhere noise=1.0": ["noise", "leave the key out"],
    "report nowhere": ["nowhere", "no such"],
    "train teacher seed=one": ["seed", "'one'", "int"],
    "train teacher task.randomness=hihg": ["hihg", "high"],
    "train teacher ppo.minibatch=1000": ["minibatch", "1000"],
    "train teacher tracker=wandbb": ["tracker", "'wandb'"],
    "train teacher engine=bullet task=hand_lift": ["hand_lift", "bullet"],
}


@pytest.mark.parametrize("line", [*WRONG, *LATE])
def test_a_mistake_is_one_clear_line(embodkd, line: str) -> None:
    answer = embodkd(*line.split())
    assert answer.code == 2
    assert answer.err.startswith("embodkd: ") and answer.err.count("\n") == 1, answer.err
    for fragment in {**WRONG, **LATE}[line]:
        assert fragment in answer.err
    assert not answer.out


def test_mistakes_are_found_before_anything_heavy_is_imported() -> None:
    code = "import sys; from embodkd.cli import main; assert main(sys.argv[1:]) == 2; sys.exit('torch' in sys.modules)"
    for line in WRONG:
        if line != "train teacher seed=[" and "show dager" not in line:
            assert subprocess.run([sys.executable, "-c", code, *line.split()], capture_output=True).returncode == 0, (
                line
            )


def test_a_pickle_is_refused_with_advice(embodkd, tmp_path) -> None:
    (tmp_path / "foreign.zip").write_bytes(b"\x80\x04K\x01.")
    answer = embodkd("evaluate", "policy=foreign.zip")
    assert answer.code == 2 and "pickle" in answer.err and "save_policy" in answer.err


def test_a_fault_of_ours_keeps_its_trace(embodkd, monkeypatch) -> None:
    import embodkd.cli.methods as verb

    def broken(words: list[str]) -> int:
        return {}["key"]

    monkeypatch.setattr(verb, "main", broken)
    with pytest.raises(KeyError):
        embodkd("methods")


def test_a_library_s_value_error_is_not_blamed_on_the_user(embodkd, monkeypatch) -> None:
    import numpy as np

    import embodkd.cli.methods as verb

    monkeypatch.setattr(verb, "main", lambda words: np.zeros(2).reshape(3))
    with pytest.raises(ValueError):
        embodkd("methods")


@pytest.mark.parametrize("ask", ["numpy", "torch"])
def test_too_little_memory_is_one_line_and_leaves_nothing(embodkd, monkeypatch, tmp_path, ask: str) -> None:
    import numpy as np
    import torch

    import embodkd.cli.methods as verb
    from embodkd.core import RunFolder

    def large(words: list[str]) -> int:
        with RunFolder.open(tmp_path / "run", {}):
            np.zeros(2**60, np.uint8) if ask == "numpy" else torch.zeros(2**60, dtype=torch.uint8)
        return 0

    monkeypatch.setattr(verb, "main", large)
    answer = embodkd("methods")
    assert answer.code == 2 and answer.err.startswith("embodkd: not enough memory (") and answer.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
