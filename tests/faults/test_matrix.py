"""Files x faults x verbs: whatever is done to a file that was left on a disk, every verb that reads it either does its
work or says in one line which file is wrong; nothing else is changed and nothing is left behind."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import stat
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatch
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from damages import TENSORS, VALUES, WHOLE, YAML, Damage, field, unlocked
from places import CLASSIFIER, CLONE, DIGITS, PPO, QUIET, TEACHER, Places

from embodkd.cli import compose
from embodkd.cli.overrides import Words
from embodkd.cli.verbs import Verb
from embodkd.core.config.schema import build

NEW = ["runs/new", "runs/new/*"]
# verb -> (part of the places, its words, what it may write)
VERBS: dict[str, tuple[str, list[str], list[str]]] = {
    "report a run": ("teacher", ["report", "runs/teacher", "out=out.html"], ["out.html"]),
    "report items": ("digits", ["report", "runs/digits", "out=out.html"], ["out.html"]),
    "report imitation": ("clone", ["report", "runs/clone", "out=out.html"], ["out.html"]),
    "report tables": ("tables", ["report", "results/resip.json", "out=out.html"], ["out.html"]),
    "compare": ("teacher", ["compare", "policy=runs/teacher/evaluation.json", "against=judged.json"], []),
    "compare policies": (
        "teacher",
        ["compare", "policy=judged.json", "against=runs/teacher", "episodes=2", "copies=2", *QUIET],
        [],
    ),
    "evaluate": (
        "teacher",
        ["evaluate", "policy=runs/teacher", "episodes=1", "copies=1", "out=out.json", *QUIET],
        ["out.json"],
    ),
    "evaluate items": ("digits", ["evaluate", "policy=runs/digits", "out=out.json", *QUIET], ["out.json"]),
    "evaluate on demonstrations": (
        "clone",
        ["evaluate", "policy=runs/clone", "demos=demos", "out=out.json", *QUIET],
        ["out.json", "out.png"],
    ),
    "evaluate a replay": (
        "clone",
        ["evaluate", "replay=demos", "tries=1", "episodes=1", "copies=1", "out=out.json", *QUIET],
        ["out.json"],
    ),
    "record": (
        "teacher",
        [*("record", "policy=runs/teacher", "episodes=1", "num_envs=1", "only_success=false"),
         *("groups=[proprio]", "quiet=true", "run=runs/new")],
        NEW,
    ),
    "distill": (
        "teacher",
        [*("distill", "student", "teacher=runs/teacher", "student=blind", "num_envs=2", "method.rounds=1"),
         *("method.steps=2", "episodes=0", "run=runs/new"), *QUIET],
        NEW,
    ),
    "distill items": (
        "digits",
        ["distill", "student", *DIGITS, "model.hidden=[4]", "method=kd", "teacher=runs/digits", "run=runs/new"],
        NEW,
    ),
    "distill demonstrations": ("clone", [*CLONE, "run=runs/new"], NEW),
    "go on from": (
        "teacher",
        ["train", "teacher", *PPO, "init=runs/teacher", "run=runs/new"],
        NEW,
    ),
    "correct": (
        "clone",
        [*("train", "residual", "base=runs/clone", "transfer=true", "steps=400", "td3.num_envs=2", "td3.every=64"),
         *("td3.warmup=128", "td3.critic_warmup=128", "evaluate_episodes=2", "episodes=0", "run=runs/new"), *QUIET],
        NEW,
    ),
    "export": ("digits", ["export", "policy=runs/digits", "out=out.onnx"], ["out.onnx"]),
    "film": (
        "teacher",
        ["rollout", "policy=runs/teacher", "episodes=1", "out=out"],
        ["out", "out/*"],
    ),
    "resume a teacher": ("teacher", [*TEACHER, "resume=true"], ["runs/teacher/*"]),
    "resume a classifier": ("digits", [*CLASSIFIER, "resume=true"], ["runs/digits/*"]),
    "resume a clone": ("clone", [*CLONE, "run=runs/clone", "resume=true"], ["runs/clone/*"]),
    "methods": ("tables", ["methods"], []),
    "methods in full": ("tables", ["methods", "--markdown"], []),
    "show a method": ("tables", ["methods", "show", "nkd"], []),
    "reproduce a file": ("tables", ["reproduce", "tiny.yaml", "dry_run=true", "quiet=true"], []),
}  # fmt: skip

_MANIFEST = ("minutes", "versions", "versions/torch", "command", "command/0", "seed", "git_commit", "finished",
             "device", "memory_mib", "resumed")  # fmt: skip
_CHECKPOINT = ("step", "state", "minutes", "metrics_bytes", "state/rng", "state/rng/numpy", "state/rng/python")
_ANSWERS = ("success_rate", "successes", "episodes", "ci95", "ci95/0", "failures", "per_episode", "per_episode/0",
            "per_episode/0/seed", "per_episode/0/success", "per_episode/0/failure", "per_episode/0/return",
            "per_episode/0/steps", "protocol", "manifest", "manifest/versions", "manifest/git_commit",
            "manifest/command")  # fmt: skip
TEACHER_CHECKPOINT, DIGITS_CHECKPOINT, CLONE_CHECKPOINT = (
    "runs/teacher/checkpoints/step_64",
    "runs/digits/checkpoints/step_4",
    "runs/clone/checkpoints/step_2",
)
# file -> (fields, verbs that read it)
SAID: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "runs/teacher/evaluation.json": (
        (*_ANSWERS, "protocol/task", "protocol/engine", "protocol/options", "protocol/seed", "protocol/unit",
         "manifest/reads", "manifest/reads/proprio", "manifest/beware", "manifest/renderer"),
        ("report a run", "compare"),
    ),
    "runs/digits/evaluation.json": (
        (*_ANSWERS, "protocol/data", "protocol/data/name", "protocol/data/seed", "protocol/part", "manifest/measures"),
        ("report items",),
    ),
    "runs/clone/imitation.json": (
        ("action", "action/names", "action/units", "action/low/0", "action/size", "episodes", "episodes/0",
         "episodes/0/error", "episodes/0/error/0", "episodes/0/steps", "episodes/0/name", "protocol",
         "manifest", "manifest/beware", "manifest/said", "error"),
        ("report imitation",),
    ),
    "runs/teacher/ablation.json": (
        ("intact", "intact/success_rate", "rows", "rows/0", "rows/0/group", "rows/0/way", "rows/0/success_rate",
         "rows/0/ci95", "rows/0/difference", "rows/0/difference_ci95", "rows/0/verdict", "unused", "protocol"),
        ("report a run",),
    ),
    "runs/teacher/manifest.json": (_MANIFEST, ("report a run", "resume a teacher")),
    "runs/digits/manifest.json": (_MANIFEST, ("resume a classifier", "report items")),
    "runs/teacher/metrics.jsonl": (("step", "time_s"), ("report a run", "resume a teacher")),
    "runs/digits/metrics.jsonl": (("step", "time_s"), ("report items", "resume a classifier")),
    "runs/teacher/policy/config.json": (
        ("format", "policy", "arguments", "arguments/vectors", "groups", "groups/proprio", "groups/proprio/shape",
         "groups/proprio/privileged", "groups/proprio/dtype", "groups/proprio/names", "groups/proprio/doc", "action",
         "action/size", "action/names", "action/low", "action/high/0", "control_hz", "task", "task/name",
         "task/version", "task/engine", "task/options", "lineage", "extra", "golden_action", "golden_action/0"),
        ("evaluate", "report a run", "record", "distill", "compare policies", "go on from", "film"),
    ),
    "runs/clone/policy/config.json": (
        ("policy", "arguments", "arguments/width", "arguments/horizon", "groups", "groups/proprio/shape", "action",
         "control_hz", "task", "lineage", "lineage/method", "extra", "extra/demos_keys", "extra/demos_failed",
         "golden_action"),
        ("evaluate on demonstrations", "report imitation", "correct"),
    ),
    "runs/digits/model/config.json": (
        ("format", "model", "arguments", "arguments/hidden", "shape", "shape/0", "classes", "golden_logits",
         "golden_logits/0", "provenance", "provenance/classes", "provenance/silent", "lineage", "lineage/data",
         "lineage/data/name", "extra"),
        ("evaluate items", "distill items", "export"),
    ),
    f"{TEACHER_CHECKPOINT}/state.json": (
        (*_CHECKPOINT, "state/rates", "state/iteration", "state/primed", "state/record"), ("resume a teacher",)
    ),
    f"{DIGITS_CHECKPOINT}/state.json": (
        (*_CHECKPOINT, "state/position", "state/position/stage", "state/optimisers", "state/scaler"),
        ("resume a classifier",),
    ),
    f"{CLONE_CHECKPOINT}/state.json": (
        (*_CHECKPOINT, "state/position", "state/position/update", "state/optimisers"), ("resume a clone",)
    ),
    "runs/digits/data.json": (("data",), ("resume a classifier",)),
    "runs/teacher/config.yaml": (("seed", "ppo", "ppo/num_envs", "run"), ("report a run", "resume a teacher")),
    "runs/clone/config.yaml": (("seed", "method", "demos"), ("resume a clone", "report imitation")),
    "results/nkd_uskd.json": (
        ("slug", "title", "metric", "margin", "seeds", "arms", "arms/nkd", "arms/nkd/role", "arms/nkd/mean",
         "arms/nkd/ci95", "arms/nkd/parameters", "arms/nkd/method", "teachers", "comparisons", "comparisons/0",
         "comparisons/0/verdict", "comparisons/0/mean", "comparisons/0/arm", "comparisons/0/ci95", "checks",
         "checks/0", "checks/0/passed", "checks/0/claim", "minutes", "manifest", "config"),
        ("methods", "methods in full", "show a method"),
    ),
    "results/resip.json": (
        ("slug", "tables", "tables/main", "tables/main/0", "tables/main/0/cell", "tables/main/0/setting",
         "tables/main/0/setting/0", "tables/main/0/success_rate", "tables/main/0/successes",
         "tables/main/0/episodes", "tables/main/0/seed", "tables/main/0/command", "tables/main/0/minutes",
         "tables/main/0/commit", "tables/main/0/curve", "tables/main/0/curve/0", "tables/main/0/parameters",
         "tables/main/0/memory_mib", "tables/main/0/steps_to_success", "tables/main/0/stale",
         "tables/main/0/modality"),
        ("report tables", "methods in full"),
    ),
    "tiny.yaml": (("slug", "data", "data/train", "arms", "arms/kd", "arms/kd/role", "budget", "seeds", "checks/0"),
                  ("reproduce a file",)),
    "demos/meta/info.json": (
        ("codebase_version", "fps", "total_episodes", "total_frames", "features", "features/action",
         "features/action/shape", "features/action/dtype"),
        ("distill demonstrations", "evaluate on demonstrations", "evaluate a replay"),
    ),
    **{f"demos/{table}.parquet": ((), ("distill demonstrations", "evaluate on demonstrations", "evaluate a replay"))
       for table in ("data/chunk-000/file-000", "meta/episodes/chunk-000/file-000", "meta/tasks")},
    "demos/meta/embodkd.json": (
        ("task", "task/name", "task/version", "task/engine", "task/options", "groups", "groups/0", "groups/0/shape",
         "episodes"),
        ("distill demonstrations", "evaluate on demonstrations", "evaluate a replay"),
    ),
}  # fmt: skip
HELD: dict[str, tuple[str, ...]] = {
    "runs/teacher/policy/model.safetensors": ("evaluate", "record", "distill", "go on from"),
    "runs/digits/model/model.safetensors": ("evaluate items", "distill items"),
    "runs/digits/model/items.safetensors": ("evaluate items",),
    "runs/digits/model/examples.safetensors": ("export",),
    "runs/clone/policy/items.safetensors": ("evaluate on demonstrations",),
    f"{TEACHER_CHECKPOINT}/tensors.safetensors": ("resume a teacher",),
    f"{DIGITS_CHECKPOINT}/tensors.safetensors": ("resume a classifier",),
    f"{CLONE_CHECKPOINT}/tensors.safetensors": ("resume a clone",),
}
SAMPLED = 40


@dataclass(frozen=True)
class Case:
    file: str
    fault: str
    verb: str
    damage: Damage

    def __str__(self) -> str:
        return f"{self.file}: {self.fault}: {self.verb}"


def _cases() -> Iterator[Case]:
    for file, (fields, verbs) in SAID.items():
        faults = {**WHOLE, **YAML} if file.endswith(".yaml") else WHOLE
        # each fault meets some of the verbs, each field some of the values: in turn, so that all of them are met
        turn, names = itertools.cycle(verbs), list(VALUES)
        for name, damage in faults.items():
            yield Case(file, name, next(turn), damage)
        for number, place in enumerate(fields):
            for name in names[number % 6 :: 6]:
                yield Case(file, f"{place} is {name}", next(turn), field(place, VALUES[name]))
    for file, verbs in HELD.items():
        for (name, damage), verb in zip(TENSORS.items(), itertools.cycle(verbs), strict=False):
            yield Case(file, name, verb, damage)


CASES = list(_cases())
SAMPLE = {k for k in range(0, len(CASES), len(CASES) // SAMPLED) if VERBS[CASES[k].verb][0] != "clone"}


def seen(folder: Path) -> dict[str, str]:
    """What lies in a folder: path -> a mark of what it is."""
    found = {}
    for path in folder.rglob("*"):
        if path.name == ".lock" and path.stat().st_size:
            continue  # it says who held it last
        kind = stat.S_IFMT(path.lstat().st_mode)
        held = sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(kind) and os.access(path, os.R_OK) else ""
        found[str(path.relative_to(folder))] = f"{kind}{held}"
    return found


_COMPOSED: dict[tuple[str, ...], tuple[str, dict[str, Any]]] = {}


@pytest.fixture
def composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command is composed by Hydra the first time only: that takes longer than all the rest."""

    def run(verb: Verb, words: Words) -> int:
        typed = tuple(sys.argv[1:])
        if typed not in _COMPOSED:
            _COMPOSED[typed] = compose.resolved(shlex.join(typed))
        (module, _, name), plain = _COMPOSED[typed][0].partition(":"), deepcopy(_COMPOSED[typed][1])
        made = build(getattr(import_module(module), name), plain, "")
        return (made() if callable(made) else made) or 0

    monkeypatch.setattr(compose, "run", run)


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=str(c), marks=() if k in SAMPLE else pytest.mark.faults) for k, c in enumerate(CASES)]
)
@pytest.mark.filterwarnings("ignore:skipped a damaged checkpoint")
def test_a_fault_in_a_file_is_said_in_one_line_or_does_no_harm(
    case: Case, embodkd, composed_once, tmp_path: Path, places: Places, count_case, record_property
) -> None:
    part, words, writes = VERBS[case.verb]
    places.copy(part, tmp_path)
    file = tmp_path / case.file
    case.damage(file)
    if case.fault == "locked" and os.access(file, os.R_OK):
        pytest.skip("nothing is locked for root")
    before = seen(tmp_path)
    try:
        answer = embodkd(*words)
        after = seen(tmp_path)
    finally:
        unlocked(tmp_path)
    assert answer.code in (0, 2), answer
    assert "Traceback" not in answer.err and len(answer.err) < 5000, answer.err
    if answer.code == 2:
        assert answer.err.startswith("embodkd: ") and answer.err.count("\n") == 1, answer.err
        said = (file.name, os.path.dirname(case.file), os.path.basename(case.file).partition(".")[0])
        key = case.fault.partition(" is ")[0].rpartition("/")[2]  # what a user wrote is known by its key, too
        shards = f"{file.parts[-3]}/" if file.suffix == ".parquet" else ""  # which of them is missing, none can tell
        assert any(name and name in answer.err for name in (*said, key, shards)), answer.err
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    allowed = writes if answer.code == 0 else []
    assert not [path for path in changed if not any(fnmatch(path, form) for form in allowed)], (answer, changed)
    assert not [path for path in after if ".tmp-" in path]
    count_case("files x faults x verbs")
    for kind in ("file", "fault", "verb"):
        record_property(f"case: {kind}", getattr(case, kind).partition(" is ")[2] or getattr(case, kind))
    shutil.rmtree(tmp_path, ignore_errors=True)
