"""Every verb that writes, killed at random instants of its life: said again, it comes to what it would have come to.

A kill leaves what a command writes whole or absent, and what one had finished before is neither lost nor changed.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from embodkd.envs import make_task
from embodkd.policies import make_policy, save_policy, task_record
from furnish import furnished
from kills import forked

from embodkd.cli import main
from embodkd.cli.verbs import VERBS
from embodkd.core.runs.digests import check_digest
from embodkd.models import make_model, save_model

pytestmark = pytest.mark.timeout(900)
# one of them in the whole suite too
SAMPLE = "record"
FIRST, AGAIN, STARTED = 5, 3, 2
QUICK = ["torch_threads=1", "quiet=true"]
OFTEN = ["trainer.checkpoint_s=0", *QUICK]
DIGITS = ["data=digits", "data.train=80", "data.validation=20", "budget.updates=null", "budget.epochs=4"]
DIGITS += ["budget.batch_size=20", "model=mlp", "model.hidden=[8]"]
PPO = ["ppo.num_envs=4", "ppo.n_steps=4", "ppo.minibatch=16", "evaluate_episodes=1", "checkpoint_every=16"]
TD3 = ["td3.num_envs=2", "td3.every=16", "td3.warmup=16", "td3.critic_warmup=16", "td3.steps=16", "checkpoint_every=32"]
DAGGER = ["student=mlp", "student.vectors=[proprio]", "num_envs=2", "method.rounds=2", "method.steps=4"]
DAGGER += ["method.epochs=1", "episodes=2", "finetune.steps=1", "finetune.critic_warmup=0"]
CHUNKS = ["student=mlp_chunk", "student.width=8", "student.blocks=1", "student.vectors=[proprio]", "method.rounds=2"]
CHUNKS += ["method.updates_per_round=4", "method.batch_size=8", "episodes=2"]
# what is begun -> (the words that begin it and, said again, go on with it; the files that it is for)
COMMANDS = {
    "train teacher": (
        ["train", "teacher", "task=peg_hole", "steps=64", *PPO, "network.hidden=[8]", "episodes=2", *QUICK, "run=x"],
        ["x/policy*/*.safetensors", "x/evaluation.json"],
    ),
    "train teacher data=...": (["train", "teacher", *DIGITS, *OFTEN, "run=x"], ["x/model/*.safetensors"]),
    "train residual": (
        ["train", "residual", "base=runs/base", "steps=64", *TD3, "residual.hidden=[8]", "evaluate_episodes=1"]
        + ["episodes=1", *QUICK, "run=x"],
        ["x/policy*/*.safetensors", "x/evaluation.json", "x/corrections.json"],
    ),
    "distill student": (
        ["distill", "student", "teacher=runs/expert", *DAGGER, *OFTEN, "run=x"],
        ["x/policy/*.safetensors", "x/evaluation.json"],
    ),
    "distill student data=...": (
        ["distill", "student", *DIGITS, "teacher=runs/model", "method=kd", *OFTEN, "run=x"],
        ["x/model/*.safetensors"],
    ),
    "distill student demos=...": (
        ["distill", "student", "demos=demos", *CHUNKS, *OFTEN, "run=x"],
        ["x/policy/*.safetensors", "x/evaluation.json"],
    ),
    "record": (
        ["record", "policy=runs/expert", "episodes=6", "num_envs=2", "only_success=false", *QUICK, "run=x"],
        ["x/demos/**/*"],
    ),
    "evaluate": (
        ["evaluate", "runs/expert", "episodes=6", "copies=2", "ablate=true", *QUICK],
        ["runs/expert/evaluation.json", "runs/expert/ablation.json"],
    ),
    "evaluate replay=...": (
        ["evaluate", "replay=demos", "tries=1", "episodes=4", "copies=2", *QUICK, "out=replay.json"], ["replay.json"]
    ),
    "rollout": (["rollout", "runs/expert", "episodes=1"], ["runs/expert/videos/*.mp4"]),
    "export": (["export", "runs/expert", "episodes=2"], ["runs/expert/policy.onnx"]),
    "report": (["report", "runs/expert"], ["runs/expert/report.html"]),
    "reproduce": (
        ["reproduce", "toy.yaml", "quiet=true", "out=toy.json"],
        ["toy.json", "runs/**/product/*.safetensors"],
    ),
}  # fmt: skip
# these answer on the terminal, fetch from elsewhere, or are made of the others
WRITE_NOTHING = {"compare", "methods", "data list", "data get", "demo", "study", "doctor", "completion"}
RUNS = ("train", "distill", "record")
TABLE = """slug: toy
data: {name: digits, train: 80, validation: 20}
student: {name: mlp, hidden: [8]}
budget: {epochs: 3, batch_size: 20}
trainer: {checkpoint_s: 0}
seeds: [0, 1]
arms:
  alone: {role: method, method: {name: supervised}}
"""
# what a command imports late, so that lives after a fork are spent on its work
LATE = ("accelerate", "av", "jinja2", "onnxruntime", "onnxscript", "pyarrow.parquet", "stable_baselines3")
LATE += ("torch.onnx", "torch.utils.tensorboard", "embodkd.evaluation.export", "embodkd.evaluation.reproduce")
CLOCK = {"manifest", "minutes", "time_s", "started", "finished", "command"}


@pytest.fixture(scope="module")
def furniture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An expert, a base, a classifier, demonstrations, a table."""
    torch.set_num_threads(1)
    for name in LATE:
        importlib.import_module(name)
    folder = furnished(tmp_path_factory.mktemp("furniture"))
    world = make_task("peg_assembly", 1)
    try:
        base = make_policy("mlp_chunk", world.spec.groups, 10, width=8, blocks=1)
        world.reset(np.zeros(1, np.int64))
        low = np.array([-0.05, -0.05, 0.1, 1, 0, 0, 0, 1, 0, -1], np.float32)
        base.fit_normalisers(world.observe(base.reads), np.stack([low, low + 0.1]).clip(-1, 1))
        save_policy(folder / "runs/base/policy", base, task=task_record(world.spec))
    finally:
        world.close()
    model = make_model("mlp", (1, 8, 8), 10, hidden=[16])
    save_model(folder / "runs/model/model", model, lineage={"method": "none"})
    (folder / "toy.yaml").write_text(TABLE)
    return folder


def test_every_verb_that_writes_is_here() -> None:
    assert set(COMMANDS) | WRITE_NOTHING == {verb.shown for verb in VERBS}


def products(folder: Path, patterns: list[str]) -> dict[str, Any]:
    """What the files of `patterns` hold, by name, without what a clock says."""
    files = [file for pattern in patterns for file in folder.glob(pattern) if file.is_file()]
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]
    return {file.relative_to(folder).as_posix(): _held(file) for file in files}


def _held(file: Path) -> Any:
    if file.suffix == ".json":
        return _timeless(json.loads(file.read_text()))
    return re.sub(rb", \d\d:\d\d UTC", b"", file.read_bytes())


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _timeless(inner) for key, inner in value.items() if key not in CLOCK}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def said(words: list[str], folder: Path) -> Callable[[], int]:
    """The command, in that folder; where it may be a run that is gone on with, it says so."""
    resume = ["resume=true"] if words[0] in RUNS else []

    def action() -> int:
        os.chdir(folder)
        return main([*words, *resume])

    return action


@pytest.mark.parametrize(
    "verb", [pytest.param(verb, marks=() if verb == SAMPLE else pytest.mark.faults) for verb in COMMANDS]
)
def test_killed_at_random_instants_it_loses_nothing_and_comes_to_the_same(
    verb: str, furniture: Path, tmp_path: Path, count_case
) -> None:
    words, patterns = COMMANDS[verb]
    log, rng = tmp_path / "log", np.random.default_rng(zlib.crc32(verb.encode()))
    for name in ("whole", "broken"):
        shutil.copytree(furniture, tmp_path / name)
    whole = forked(said(words, tmp_path / "whole"), log)
    assert whole.code == 0, whole.said
    wanted, action = products(tmp_path / "whole", patterns), said(words, tmp_path / "broken")
    assert all(any((tmp_path / "whole").glob(pattern)) for pattern in patterns), verb
    one_at_once, seconds = words[0] not in ("train", "distill", "reproduce"), whole.seconds
    for shares, complete in ((rng.uniform(size=FIRST), False), (rng.uniform(size=AGAIN), True)):
        for share in shares:
            end = forked(action, log, float(share) * seconds)
            found = products(tmp_path / "broken", patterns)  # a broken JSON file ends this
            for file in (file for file in found if file.endswith(".safetensors")):
                check_digest(tmp_path / "broken" / file)
            if complete or end.code == 0:
                assert found == wanted, (verb, share)
            elif one_at_once:
                assert all(found[file] == wanted[file] for file in found), (verb, share)
            if end.code == 0:  # its life was shorter than thought
                seconds = min(seconds, end.seconds)
                if not complete:
                    shutil.rmtree(tmp_path / "broken")
                    shutil.copytree(furniture, tmp_path / "broken")
            else:
                assert end.code == -signal.SIGKILL, end.said
                count_case("kills of verbs")
        end = forked(action, log)
        assert end.code == 0, end.said
        assert products(tmp_path / "broken", patterns) == wanted


@pytest.mark.faults
@pytest.mark.parametrize("verb", ["train teacher data=...", "record", "evaluate"])
def test_a_program_of_its_own_killed_anywhere_between_its_start_and_its_end(
    verb: str, furniture: Path, tmp_path: Path, count_case
) -> None:
    words, patterns = COMMANDS[verb]
    resume = ["resume=true"] if words[0] in RUNS else []
    for name in ("whole", "broken"):
        shutil.copytree(furniture, tmp_path / name)

    def life(where: str, after: float | None = None) -> float:
        started = time.monotonic()
        command = [sys.executable, "-m", "embodkd.cli", *words, *resume]
        nowhere = subprocess.DEVNULL
        with subprocess.Popen(command, cwd=tmp_path / where, stdout=nowhere, stderr=nowhere) as process:
            try:
                code = process.wait(after)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
        assert code == 0 or (after is not None and code == -signal.SIGKILL)
        count_case("kills of programs", int(code != 0))
        return time.monotonic() - started

    seconds = life("whole")
    for after in np.random.default_rng(zlib.crc32(verb.encode())).uniform(0.0, seconds, STARTED):
        life("broken", float(after))
    life("broken")
    assert products(tmp_path / "broken", patterns) == products(tmp_path / "whole", patterns)
