"""Datasets of demonstrations: what is written is read back, and the layout is LeRobot's."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embodkd.core.sources.group import GroupFacts
from embodkd.data.lerobot import About, Reading, Recording, about, read_dataset, together, write_dataset
from embodkd.data.lerobot import writer as writing

pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow (extra: lerobot)")

GROUPS = {
    "proprio": GroupFacts("proprio", (5,), False, unit="m"),
    "privileged": GroupFacts("privileged", (1,), True, unit="m"),
    "grip": GroupFacts("grip", (2,), False),
    "front_rgb": GroupFacts("front_rgb", (3, 32, 48), False, "uint8"),
}
VECTORS = ("proprio", "privileged", "grip")
TASK = {"name": "peg_assembly", "engine": "mujoco", "options": {"randomness": "low"}, "control_hz": 10.0}
LENGTHS = (7, 3, 5)


def smooth(generator: np.random.Generator, length: int, shape: tuple[int, ...]) -> np.ndarray:
    """Pictures that a codec can keep: a gradient per colour that moves with time."""
    _, height, width = shape
    y, x = np.mgrid[:height, :width]
    shift = generator.uniform(0, 60, (length, 3, 1, 1))
    return np.clip(2 * y + 2 * x + shift + 10 * np.arange(length)[:, None, None, None], 0, 255).astype(np.uint8)


def recordings(groups=GROUPS, lengths=LENGTHS) -> list[Recording]:
    generator = np.random.default_rng(3)
    found = []
    for k, length in enumerate(lengths):
        values = {
            name: smooth(generator, length, g.shape)
            if g.is_image
            else generator.normal(size=(length, *g.shape)).astype(np.float32)
            for name, g in groups.items()
        }
        action = generator.uniform(-1, 1, (length, 10)).astype(np.float32)
        reward = np.eye(length, dtype=np.float32)[-1]
        found.append(Recording(values, action, reward, success=k != 1, seed=100 + k))
    return found


def write(folder: Path, groups=GROUPS, lengths=LENGTHS) -> Path:
    return write_dataset(folder, iter(recordings(groups, lengths)), groups, fps=10, task=TASK, robot_type="gripper")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "demos")


@pytest.fixture
def copy(dataset: Path, tmp_path: Path) -> Path:
    """One that a test may damage."""
    return Path(shutil.copytree(dataset, tmp_path / "copy"))


def joined(name: str) -> np.ndarray:
    return np.concatenate([r.groups[name] for r in recordings()])


def test_numbers_come_back_bit_for_bit_under_their_own_names(dataset: Path) -> None:
    demos = read_dataset(dataset)
    for name in ("proprio", "privileged", "grip"):
        np.testing.assert_array_equal(demos.frames[name], joined(name))
    np.testing.assert_array_equal(demos.action_FA, np.concatenate([r.action for r in recordings()]))
    sentence = {"task": GroupFacts("task", (1,), False, "int64")}
    names = {group: tuple(f"{group}_{i}" for i in range(GROUPS[group].shape[0])) for group in VECTORS}
    names["action"] = tuple(f"action_{i}" for i in range(10))
    places = {"proprio": ("observation.state", 0), "grip": ("observation.state", 5), "action": ("action", 0)}
    places |= {"privileged": ("observation.environment_state", 0), "front_rgb": ("observation.images.front_rgb", 0)}
    known = About({**GROUPS, **sentence}, 10, 10.0, TASK, ("peg_assembly",), names, tuple(GROUPS), places)
    assert demos.about == about(dataset) == known
    assert demos.frames["task"].tolist() == [[0]] * 15
    assert demos.lengths_E.tolist() == [7, 3, 5] and demos.starts_E.tolist() == [0, 7, 10]
    assert demos.seeds_E.tolist() == [100, 101, 102]
    kinds = {name: a.dtype.name for name, a in {**demos.frames, "action": demos.action_FA}.items()}
    assert kinds == {**dict.fromkeys((*VECTORS, "action"), "float32"), "front_rgb": "uint8", "task": "int64"}


def test_pictures_come_back_in_order_and_close(dataset: Path) -> None:
    wrote, read = joined("front_rgb").astype(float), read_dataset(dataset, ["front_rgb"]).frames["front_rgb"]
    noise = ((wrote - read) ** 2).mean(axis=(1, 2, 3))
    assert (10 * np.log10(255**2 / noise) > 35).all()
    nearest = [int(((wrote - picture) ** 2).mean(axis=(1, 2, 3)).argmin()) for picture in read]
    assert nearest == list(range(15))


def test_only_what_is_asked_for_is_read(copy: Path) -> None:
    shutil.rmtree(copy / "videos")
    demos = read_dataset(copy, ["grip"])
    assert set(demos.frames) == {"grip"}
    with pytest.raises(ValueError, match="no such file; the dataset is not complete"):
        read_dataset(copy)


def test_several_datasets_are_one_with_all_episodes_in_order(dataset: Path, tmp_path: Path) -> None:
    parts = [read_dataset(dataset, ["proprio"]), read_dataset(write(tmp_path / "more", lengths=(4, 6)), ["proprio"])]
    both = together(parts)
    assert both.lengths_E.tolist() == [*LENGTHS, 4, 6] and both.starts_E.tolist() == [0, 7, 10, 15, 19]
    np.testing.assert_array_equal(both.frames["proprio"][15:], parts[1].frames["proprio"])
    np.testing.assert_array_equal(both.action_FA[:15], parts[0].action_FA)
    assert together(parts[:1]).action_FA.shape == (15, 10)


def test_datasets_that_do_not_fit_together_are_refused(dataset: Path, tmp_path: Path) -> None:
    wider = {**GROUPS, "proprio": GroupFacts("proprio", (9,), False)}
    parts = [read_dataset(dataset, ["proprio"]), read_dataset(write(tmp_path / "wider", wider), ["proprio"])]
    with pytest.raises(ValueError, match="dataset 2 differs from the first in its group proprio"):
        together(parts)
    inches = write(tmp_path / "inches", {**GROUPS, "proprio": replace(GROUPS["proprio"], unit="inch")})
    with pytest.raises(ValueError, match="differs from the first in its group proprio, its unit: inch, not m"):
        together([parts[0], read_dataset(inches, ["proprio"])])


def test_many_files_are_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "FRAMES_PER_FILE", 5)
    monkeypatch.setattr(writing, "CHUNK_SIZE", 2)
    lengths = (7, 3, 5, 2, 9)
    folder = write(tmp_path / "many", lengths=lengths)
    files = sorted(str(p.relative_to(folder / "data")) for p in (folder / "data").rglob("*.parquet"))
    assert files == ["chunk-000/file-000.parquet", "chunk-000/file-001.parquet", "chunk-001/file-000.parquet"]
    demos = read_dataset(folder)
    expected = recordings(lengths=lengths)
    np.testing.assert_array_equal(demos.frames["proprio"], np.concatenate([r.groups["proprio"] for r in expected]))
    pictures = np.concatenate([r.groups["front_rgb"] for r in expected]).astype(float)
    assert np.abs(pictures - demos.frames["front_rgb"]).mean() < 3


def test_the_layout_is_that_of_lerobot_3(dataset: Path) -> None:
    info = json.loads((dataset / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == 10 and info["robot_type"] == "gripper"
    assert (info["total_episodes"], info["total_frames"], info["splits"]) == (3, 15, {"train": "0:3"})
    shapes = {name: (f["dtype"], f["shape"]) for name, f in info["features"].items()}
    assert shapes["observation.state"] == ("float32", [7]) and shapes["action"] == ("float32", [10])
    assert shapes["observation.environment_state"] == ("float32", [1])
    assert shapes["observation.images.front_rgb"] == ("video", [32, 48, 3])
    table = pq.read_table(dataset / "data/chunk-000/file-000.parquet").to_pydict()
    assert set(table) == {name for name, (dtype, _) in shapes.items() if dtype != "video"}
    assert table["index"] == list(range(15)) and table["episode_index"] == [0] * 7 + [1] * 3 + [2] * 5
    assert table["frame_index"][7:11] == [0, 1, 2, 0] and table["timestamp"][8] == pytest.approx(0.1)
    assert [i for i, done in enumerate(table["next.done"]) if done] == [6, 9, 14]
    assert [i for i, good in enumerate(table["next.success"]) if good] == [6, 14]
    rows = pq.read_table(dataset / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(r["dataset_from_index"], r["dataset_to_index"]) for r in rows] == [(0, 7), (7, 10), (10, 15)]
    key = "videos/observation.images.front_rgb"
    assert [r[f"{key}/from_timestamp"] for r in rows] == [0.0, 0.7, 1.0] and rows[2][f"{key}/to_timestamp"] == 1.5
    assert rows[0]["tasks"] == ["peg_assembly"]


def test_statistics_are_those_of_all_frames(dataset: Path) -> None:
    stats = json.loads((dataset / "meta/stats.json").read_text())
    state = np.concatenate([joined("proprio"), joined("grip")], axis=1).astype(float)
    for name, value in {"min": state.min(0), "max": state.max(0), "mean": state.mean(0), "std": state.std(0)}.items():
        np.testing.assert_allclose(stats["observation.state"][name], value, atol=1e-9)
    pictures = joined("front_rgb") / 255
    own = stats["observation.images.front_rgb"]
    np.testing.assert_allclose(np.squeeze(own["mean"]), pictures.mean((0, 2, 3)), atol=1e-9)
    np.testing.assert_allclose(np.squeeze(own["std"]), pictures.std((0, 2, 3)), atol=1e-9)
    assert own["count"] == [15] and np.shape(own["max"]) == (3, 1, 1)


def as_others(folder: Path) -> None:
    """Take out all that a dataset of another writer would not have."""
    (folder / "meta/embodkd.json").unlink()
    info = json.loads((folder / "meta/info.json").read_text())
    for feature in info["features"].values():
        feature.get("info", {}).pop("embodkd", None)
    (folder / "meta/info.json").write_text(json.dumps(info))


def test_our_own_facts_outlive_an_edit_that_drops_our_file(copy: Path) -> None:
    before = about(copy)
    (copy / "meta/embodkd.json").unlink()
    found = about(copy)
    assert set(found.observed) == set(before.observed)
    assert replace(found, observed=()) == replace(before, observed=())


def test_where_our_facts_are_lost_the_names_of_the_numbers_and_the_task_mend_it(copy: Path) -> None:
    as_others(copy)
    reading = Reading(known=GROUPS, task=TASK)
    found = about(copy, reading)
    assert {name: found.groups[name] for name in GROUPS} == GROUPS and found.task == TASK
    np.testing.assert_array_equal(read_dataset(copy, ["grip"], reading).frames["grip"], joined("grip"))


def test_a_dataset_of_others_is_read_by_its_own_names(copy: Path) -> None:
    as_others(copy)
    demos = read_dataset(copy)
    facts = {name: (g.shape, g.privileged, g.dtype) for name, g in demos.about.groups.items()}
    assert facts == {
        "state": ((7,), False, "float32"),
        "environment_state": ((1,), True, "float32"),
        "front_rgb": ((3, 32, 48), False, "uint8"),
        "task": ((1,), False, "int64"),
    }
    np.testing.assert_array_equal(demos.frames["state"], np.concatenate([joined("proprio"), joined("grip")], axis=1))
    assert demos.about.task == {} and demos.seeds_E.tolist() == [-1] * 3


def test_a_dataset_is_whole_or_absent_and_never_overwrites(tmp_path: Path, dataset: Path) -> None:
    def broken():
        yield recordings()[0]
        raise RuntimeError("the simulator died")

    with pytest.raises(RuntimeError, match="died"):
        write_dataset(tmp_path / "new", broken(), GROUPS, fps=10, task=TASK)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="exists; a dataset is written into a new folder"):
        write(dataset)
    with pytest.raises(ValueError, match="no episodes"):
        write_dataset(tmp_path / "new", [], GROUPS, fps=10, task=TASK)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda r: Recording({**r.groups, "grip": r.groups["grip"][1:]}, r.action, r.reward, True, 0),
            "grip has shape",
        ),
        (lambda r: Recording({}, r.action, r.reward, True, 0), "proprio has shape None"),
        (lambda r: Recording(r.groups, r.action * np.nan, r.reward, True, 0), "action is not finite"),
        (lambda r: Recording(r.groups, r.action[:0], r.reward, True, 0), "T > 0"),
    ],
)
def test_a_recording_that_does_not_fit_is_named(tmp_path: Path, change, message: str) -> None:
    episodes = recordings()
    with pytest.raises(ValueError, match=f"episode 1: .*{message}"):
        write_dataset(tmp_path / "new", [episodes[0], change(episodes[1])], GROUPS, fps=10, task=TASK)


@pytest.mark.parametrize("shape, dtype", [((3, 33, 48), "uint8"), ((1, 32, 48), "uint8"), ((64, 3), "float32")])
def test_a_group_that_lerobot_cannot_hold_is_refused(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    odd = {"odd": GroupFacts("odd", shape, False, dtype)}
    with pytest.raises(ValueError, match="group 'odd'"):
        write_dataset(tmp_path / "new", [], odd, fps=10, task=TASK)


def test_what_is_no_dataset_or_an_incomplete_one_is_refused_with_advice(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no LeRobot dataset there .*meta/"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no observation group 'gripp': did you mean 'grip'"):
        read_dataset(copy, ["gripp"])
    info = json.loads((copy / "meta/info.json").read_text())
    for change, message in (
        ({"codebase_version": "v2.1"}, "v2.1, v3.0 is read; convert"),
        ({"total_frames": 16}, "15 frames and 3 episodes are there, meta/info.json says 16"),
        ({"features": {}}, "no feature 'action'"),
    ):
        (copy / "meta/info.json").write_text(json.dumps({**info, **change}))
        with pytest.raises(ValueError, match=message):
            read_dataset(copy)
    (copy / "meta/info.json").write_text(json.dumps(info))
    frames = copy / "data/chunk-000/file-000.parquet"
    whole = frames.read_bytes()
    frames.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a readable parquet file"):
        read_dataset(copy)
    frames.unlink()
    with pytest.raises(ValueError, match="no parquet files in data/"):
        read_dataset(copy)


def test_a_video_cut_short_is_refused(copy: Path) -> None:
    file = copy / "videos/observation.images.front_rgb/chunk-000/file-000.mp4"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match="mp4: (not a readable video|has no video in it)"):
        read_dataset(copy)


@pytest.mark.skipif(importlib.util.find_spec("lerobot") is None, reason="needs lerobot, whose pins exclude ours")
def test_lerobots_own_reader_sees_the_same(dataset: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    theirs = LeRobotDataset("local/demos", root=dataset, video_backend="pyav")
    assert (theirs.num_episodes, theirs.num_frames) == (3, 15)
    ours = read_dataset(dataset)
    for index in (0, 6, 7, 14):
        item = theirs[index]
        state = np.concatenate([ours.frames["proprio"][index], ours.frames["grip"][index]])
        np.testing.assert_array_equal(item["observation.state"].numpy(), state)
        np.testing.assert_array_equal(item["action"].numpy(), ours.action_FA[index])
        picture = 255 * item["observation.images.front_rgb"].numpy()
        assert np.abs(picture - ours.frames["front_rgb"][index]).mean() < 1.5
        assert item["task"] == "peg_assembly"
