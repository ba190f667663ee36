"""`embodkd distill student demos=...`: from a dataset folder to a judged policy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import so101
from embodkd.envs import make_task
from embodkd.policies import load_policy, task_record

from embodkd.core.sources.group import GroupFacts
from embodkd.data.lerobot import Memory, Recording, write_dataset
from embodkd.evaluation.imitation import Imitation

pytest.importorskip("pyarrow", reason="needs pyarrow (extra: lerobot)")

TINY = [
    "student=mlp_chunk", "student.width=8", "student.blocks=1", "method.rounds=2", "method.updates_per_round=2",
    "method.batch_size=8", "method.warmup=0", "episodes=2", "torch_threads=1", "quiet=true",
]  # fmt: skip
SEES = ["student.vectors=[proprio]"]


def episodes(groups, action_size: int, scale: float = 1.0) -> list[Recording]:
    generator = np.random.default_rng(0)
    return [
        Recording(
            {name: generator.normal(size=(20, *g.shape)).astype(np.float32) for name, g in groups.items()},
            scale * generator.uniform(-1, 1, (20, action_size)).astype(np.float32),
            np.zeros(20, np.float32),
            success=True,
            seed=k,
        )
        for k in range(2)
    ]


@pytest.fixture(scope="module")
def spec():
    world = make_task("peg_hole", 1)
    yield world.spec
    world.close()


def write(folder: Path, spec, scale: float = 1.0) -> Path:
    groups = {name: spec.groups[name] for name in ("proprio", "privileged")}
    made = episodes(groups, spec.action_size, scale)
    return write_dataset(folder, made, groups, fps=spec.control_hz, task=task_record(spec))


def test_a_dataset_becomes_a_judged_policy_that_names_it(embodkd, tmp_path: Path, spec) -> None:
    write(tmp_path / "runs/recorded/demos", spec)
    answer = embodkd("distill", "student", "demos=runs/recorded", *TINY, *SEES)
    assert answer.code == 0, answer.err
    assert "4 updates" in answer.out and "held_out/imitate" in answer.out and "of 2 episodes" in answer.out
    run = tmp_path / "runs/mlp_chunk_peg_hole"
    assert json.loads((run / "evaluation.json").read_text())["episodes"] == 2
    policy, meta = load_policy(run / "policy")
    made_of = meta["lineage"]["demos"]
    assert {**made_of, "trained": None, "held_out": None} == {
        **{"dataset": "runs/recorded/demos", "episodes": 2, "frames": 40},
        **{"trained": None, "held_out": None},
    }
    assert sorted(made_of["trained"] + made_of["held_out"]) == [0, 1]
    assert meta["task"] == {k: v for k, v in task_record(spec).items() if k != "control_hz"}
    assert meta["control_hz"] == spec.control_hz and policy.reads == ("proprio",)


def test_several_datasets_are_imitated_together(embodkd, tmp_path: Path, spec) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, spec)
    answer = embodkd("distill", "student", "demos=[one,two]", "run=both", *TINY, *SEES)
    assert answer.code == 0, answer.err
    made_of = load_policy(tmp_path / "both/policy")[1]["lineage"]["demos"]
    assert [(m["dataset"], m["episodes"], m["frames"]) for m in made_of] == [(n, 2, 40) for n in ("one", "two")]


def test_a_run_that_was_finished_goes_on_with_resume_to_the_same_policy(embodkd, tmp_path: Path, spec) -> None:
    write(tmp_path / "demos", spec)
    words = ["distill", "student", "demos=demos", "run=runs/x", *TINY, *SEES]
    assert embodkd(*words).code == 0
    weights = tmp_path / "runs/x/policy/model.safetensors"
    before = weights.read_bytes()
    refused = embodkd(*words)
    assert refused.code == 2 and "resume=true" in refused.err
    assert embodkd(*words, "resume=true").code == 0 and weights.read_bytes() == before


def test_a_run_does_not_go_on_with_other_demonstrations(embodkd, tmp_path: Path, spec) -> None:
    write(tmp_path / "demos", spec)
    words = ["distill", "student", "demos=demos", "run=runs/x", *TINY, *SEES]
    assert embodkd(*words).code == 0
    shutil.rmtree(tmp_path / "demos")
    write(tmp_path / "demos", spec, scale=-1.0)
    before = (tmp_path / "runs/x/policy/model.safetensors").read_bytes()
    answer = embodkd(*words, "resume=true")
    assert answer.code == 2 and "runs/x: began with other data than are there now" in answer.err
    assert (tmp_path / "runs/x/policy/model.safetensors").read_bytes() == before


def test_a_dataset_of_others_is_learned_by_its_own_names_and_judged_by_held_out_episodes(
    embodkd, tmp_path: Path
) -> None:
    groups = {"state": GroupFacts("state", (4,), False)}
    folder = write_dataset(tmp_path / "theirs", episodes(groups, 3), groups, fps=30, task={"name": "fold"})
    (folder / "meta/embodkd.json").unlink()
    info = json.loads((folder / "meta/info.json").read_text())
    for feature in info["features"].values():
        feature.pop("info", None)
    (folder / "meta/info.json").write_text(json.dumps(info))
    answer = embodkd("distill", "student", "demos=theirs", *TINY)
    assert answer.code == 0, answer.err
    assert "has no proprio, privileged: the student reads vectors ['state']" in answer.out
    run = tmp_path / "runs/mlp_chunk_theirs"
    assert (run / "imitation.json").exists() and not (run / "evaluation.json").exists()
    said = Imitation.load(run).said
    assert said == ("theirs: 2 of 2 episodes succeeded and are used",), "numbers that are only counted have no names"
    assert load_policy(run / "policy")[1]["control_hz"] == 30


@pytest.mark.parametrize(
    "words, parts",
    [
        (["student.vectors=[proprio,privileged]"], ["privileged", "method.allow_privileged=true"]),
        (["student.vectors=[propio]"], ["'propio'", "'proprio'"]),
        (["student=depth_cnn"], ["unknown key", "student.width"]),
        (["method=kd"], ["unknown key", "method.rounds"]),
        (["method=one_step"], ["method one_step", "needs a teacher"]),
        (["held_out=1.5", *SEES], ["held_out", "1.5"]),
        (["demos=nowhere", *SEES], ["nowhere", "no LeRobot dataset"]),
    ],
)
def test_mistakes_are_answered_with_what_to_do(embodkd, tmp_path: Path, spec, words, parts) -> None:
    write(tmp_path / "demos", spec)
    given = {word.partition("=")[0] for word in words}
    rest = [word for word in ("demos=demos", *TINY) if word.partition("=")[0] not in given]
    answer = embodkd("distill", "student", *rest, *words)
    assert answer.code == 2 and all(part in answer.err for part in parts), answer.err
    assert not (tmp_path / "runs").exists()


def test_a_student_without_chunks_and_a_method_without_demonstrations_are_refused(embodkd, tmp_path, spec) -> None:
    write(tmp_path / "demos", spec)
    rest = ["distill", "student", "demos=demos", "quiet=true", "torch_threads=1"]
    answer = embodkd(*rest, "student=mlp", "method.rounds=1")
    assert answer.code == 2 and "predicts no chunks" in answer.err
    answer = embodkd(*rest, "method=dagger")
    assert answer.code == 2 and "these do: chunk_bc, one_step" in answer.err


def test_actions_beyond_what_a_policy_can_do_are_refused(embodkd, tmp_path: Path, spec) -> None:
    write(tmp_path / "demos", spec, scale=3.0)
    answer = embodkd("distill", "student", "demos=demos", *TINY, *SEES)
    assert answer.code == 2 and "lie within [-1, 1]" in answer.err


def test_the_method_needs_demonstrations_not_a_teacher(embodkd, made: Path) -> None:
    words = [f"teacher={made}/runs/teacher_peg_hole", "method=chunk_bc", "student=blind"]
    answer = embodkd("distill", "student", *words)
    assert answer.code == 2 and "demos=..." in answer.err


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of others: two cameras, two sentences, actions within a reach of 1; of four episodes the second failed."""
    lengths = (12, 9, 3, 14)
    more = so101.endings(lengths, (0, 2, 3))
    folder = so101.write(tmp_path_factory.mktemp("arm") / "arm", "image", lengths, more=more)
    small = so101.numbers(lengths)[1] / 200
    so101.edit_table(folder, lambda table: so101.column(table, "action", small.tolist()))
    return folder


EYES = ["student=camera_chunk", "student.channels=[4,4,4,4]", "student.hidden=[8]", "student.horizon=4", *TINY[3:]]


def test_a_student_reads_what_a_set_of_others_has_and_all_is_said(embodkd, tmp_path: Path, arm: Path) -> None:
    answer = embodkd("distill", "student", f"demos={arm}", "run=seen", "image_size=[24,32]", "memory_gb=1e-4", *EYES)
    assert answer.code == 0, answer.err
    for said in (
        "has no proprio, wrist_rgb, front_rgb: the student reads vectors ['state'], cameras ['front', 'wrist']",
        "3 of 4 episodes succeeded and are used",
        "29 frames of front 24x32, wrist 24x32 are 0.00013 GB decoded, of which 0.0001 GB are kept",
        "image_size=[21,28] would fit",
        "of 3 episodes are held out",
    ):
        assert said in answer.out, answer.out
    policy, meta = load_policy(tmp_path / "seen/policy")
    assert policy.inputs["front"].shape == (3, 24, 32)
    made_of = meta["lineage"]["demos"]
    assert sorted(made_of["trained"] + made_of["held_out"]) == [0, 2, 3] and made_of["frames"] == 29


def test_failed_episodes_are_imitated_when_asked_for_and_padding_is_masked(embodkd, tmp_path: Path, arm: Path) -> None:
    words = ["student.vectors=[state]", "student.horizon=8", "failed=true", "pad=mask"]
    answer = embodkd("distill", "student", f"demos={arm}", "run=all", *TINY, *words)
    assert answer.code == 0, answer.err
    made_of = load_policy(tmp_path / "all/policy")[1]["lineage"]["demos"]
    assert sorted(made_of["trained"] + made_of["held_out"]) == [0, 1, 2, 3] and "succeeded" not in answer.out
    assert "repeat" not in answer.out


def test_a_set_of_failures_is_imitated_judged_and_judged_again(embodkd, tmp_path: Path) -> None:
    lengths = (12, 9, 8, 14)
    so101.write(tmp_path / "lost", "none", lengths, more=so101.endings(lengths, ()))
    words = ["student.vectors=[state]", "failed=true", "held_out=0.25"]
    answer = embodkd("distill", "student", "demos=lost", "run=run", *TINY, *words)
    assert answer.code == 0 and "error on 1 episode" in answer.out, answer.err
    assert json.loads((tmp_path / "run/manifest.json").read_text())["finished"]
    held_out = load_policy(tmp_path / "run/policy")[1]["lineage"]["demos"]["held_out"]
    for judged in ("imitation.json", "again.json"):
        result = Imitation.load(tmp_path / "run" / judged)
        assert [episode.name for episode in result.episodes] == [f"lost, episode {k}" for k in held_out]
        again = embodkd("evaluate", "policy=run", "demos=lost", "out=run/again.json", "quiet=true")
        assert again.code == 0, again.err
    refused = embodkd("evaluate", "policy=run", "demos=lost", "failed=false", "quiet=true")
    assert refused.code == 2 and "lost: none of the 4 episodes succeeded: " in refused.err


def test_training_and_judging_together_keep_no_more_pictures_than_memory_gb(
    embodkd, tmp_path: Path, arm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, take = [0], Memory.take

    def noted(memory: Memory, size: int) -> bool:
        room = take(memory, size)
        taken.append(size * room)
        return room

    monkeypatch.setattr(Memory, "take", noted)
    words = ["image_size=[24,32]", "memory_gb=1.34e-4", "held_out=0.4", "failed=false"]
    answer = embodkd("distill", "student", f"demos={arm}", "run=seen", *words, *EYES)
    assert answer.code == 0 and "29 frames" in answer.out and " GB are kept" not in answer.out, answer.err
    assert 29 * 24 * 32 * 3 < sum(taken) <= 134000
    taken.clear()
    answer = embodkd("evaluate", "policy=seen", f"demos={arm}", "memory_gb=3e-5", "failed=true", "quiet=true")
    assert answer.code == 0 and sum(taken) <= 30000, answer.err
    line = next(line for line in answer.out.splitlines() if "GB decoded" in line)
    assert "front 24x32" in line and "of which 3e-05 GB are kept" in line and "enlarge memory_gb" in line
    assert "image_size" not in line and answer.out.index(line) < answer.out.index("mean absolute error")


@pytest.mark.parametrize(
    "words, parts",
    [
        (["demos_keys={state: stat}"], ["demos_keys.state", "'stat'"]),
        (["student.vectors=[note]"], ["no observation group 'note'"]),
    ],
)
def test_what_a_set_of_others_lacks_is_one_line_and_leaves_nothing(embodkd, tmp_path: Path, arm, words, parts) -> None:
    answer = embodkd("distill", "student", f"demos={arm}", "run=none", *TINY, *words)
    assert answer.code == 2 and all(part in answer.err for part in parts), answer.err
    assert not (tmp_path / "none").exists()
