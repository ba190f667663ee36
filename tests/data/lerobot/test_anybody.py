"""Datasets of others, in the shapes that lerobot's own writer gives them: all that they hold is read, or named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import so101

from embodkd.data.lerobot import Memory, Reading, about, read_dataset, together

pytest.importorskip("pyarrow", reason="needs pyarrow (extra: lerobot)")


@pytest.fixture(scope="module", params=["video", "image"])
def arm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return so101.write(tmp_path_factory.mktemp(request.param) / "arm", request.param)


def test_an_arms_dataset_is_read_whole_in_its_own_units(arm: Path) -> None:
    demos, (state, action) = read_dataset(arm), so101.numbers()
    assert set(demos.frames) == {"state", "front", "wrist", "task"}
    np.testing.assert_array_equal(demos.frames["state"], state)
    np.testing.assert_array_equal(demos.action_FA, action)
    assert demos.about.names == {"state": tuple(so101.NAMES), "action": tuple(so101.NAMES)}
    assert demos.about.groups["front"].shape == (3, 96, 128) and demos.about.observed == ("state", "front", "wrist")


def test_every_frame_has_the_picture_of_its_moment_whatever_the_order_it_is_asked_in(arm: Path) -> None:
    demos = read_dataset(arm, ["front", "wrist"])
    order = np.random.default_rng(0).permutation(sum(so101.LENGTHS))
    for camera in so101.CAMERAS:
        found = demos.frames[camera][order]
        assert [so101.moment(picture, camera) for picture in found] == order.tolist()


def test_sentences_are_told_frame_by_frame(arm: Path) -> None:
    demos = read_dataset(arm, ["task"])
    assert demos.about.tasks == tuple(so101.SENTENCES)
    assert demos.frames["task"][:, 0].tolist() == [0] * 12 + [1] * 9 + [0] * 14


def test_sentences_of_several_sets_are_one_list(arm: Path, tmp_path: Path) -> None:
    other = so101.write(tmp_path / "other", "none")
    rows = [{"task_index": 0, "task": so101.SENTENCES[1]}, {"task_index": 1, "task": "Wave."}]
    so101.write_rows(other / "meta/tasks.parquet", rows)
    so101.edit_rows(other, lambda es: [e.update(tasks=[rows[e["episode_index"] % 2]["task"]]) for e in es])
    both = together([read_dataset(path, ["state", "task"]) for path in (arm, other)])
    assert both.about.tasks == (*so101.SENTENCES, "Wave.")
    assert both.frames["task"][35:, 0].tolist() == [1] * 12 + [2] * 9 + [1] * 14


def test_about_is_what_is_read(arm: Path) -> None:
    assert about(arm) == read_dataset(arm, ["state"]).about


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "mpeg4", "mjpeg"])
def test_any_codec_of_pyav_is_read(tmp_path: Path, codec: str) -> None:
    import av

    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no {codec}")
    folder = so101.write(tmp_path / "arm", "none", (6, 5))
    so101.edit_info(folder, lambda info: info["features"].update({"observation.images.front": CAMERA}))
    path = folder / "videos/observation.images.front/chunk-000/file-000.mp4"
    options = {"pix_fmt": "yuvj420p"} if codec == "mjpeg" else {}
    so101.film(path, so101.pictures("front", (6, 5)), codec, **options)
    so101.edit_rows(folder, in_one_video)
    found = read_dataset(folder, ["front"]).frames["front"]
    assert [so101.moment(picture, "front", (6, 5)) for picture in found[np.arange(11)[::-1]]] == list(range(11))[::-1]


CAMERA = {"dtype": "video", "shape": [so101.HEIGHT, so101.WIDTH, 3], "names": ["height", "width", "channels"]}


def in_one_video(rows: list[dict]) -> None:
    """The episodes of one camera "front", one after the other in one file."""
    at = 0
    for row in rows:
        key = "videos/observation.images.front"
        row |= {f"{key}/chunk_index": 0, f"{key}/file_index": 0, f"{key}/from_timestamp": at / so101.FPS}
        at += row["length"]


@pytest.mark.parametrize("shape", [[3, 96, 128], [96, 128, 3]])
def test_channels_come_first_or_last(tmp_path: Path, shape: list[int]) -> None:
    folder = so101.write(tmp_path / "arm", "image", (3, 3))
    so101.edit_info(folder, lambda info: info["features"]["observation.images.front"].update(shape=shape, names=None))
    assert read_dataset(folder, ["front"]).frames["front"].shape == (6, 3, 96, 128)


def encoded(pictures: list, **options) -> tuple[dict, object]:
    """A feature of encoded pictures and its column."""
    import pyarrow as pa

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    height, width = np.shape(pictures[0])[:2]
    feature = {"dtype": "image", "shape": [height, width, 1], "names": ["height", "width", "channels"], **options}
    return feature, pa.array([{"bytes": so101.png(p), "path": None} for p in pictures], kind)


def test_grey_and_depth_pictures_are_one_channel_of_bytes(tmp_path: Path) -> None:
    grey = np.arange(6 * 20 * 30).reshape(6, 20, 30).astype(np.uint8)
    millimetres = np.linspace(10, 10_000, 600).reshape(20, 30).astype(np.uint16)
    depth = encoded([millimetres] * 6, info={"is_depth_map": True, "depth_unit": "mm"})
    more = {"observation.images.grey": encoded(list(grey)), "observation.images.depth": depth}
    folder = so101.write(tmp_path / "arm", "none", (3, 3), more=more)
    demos = read_dataset(folder, ["grey", "depth"])
    np.testing.assert_array_equal(demos.frames["grey"][np.arange(6)][:, 0], grey)
    found = demos.frames["depth"][2][0].ravel()
    # lerobot's own code of distances: a logarithm from 1 cm to 10 m, 3.5 m shifted.
    share = np.log(millimetres / 1000 + 3.5) - np.log(3.51)
    np.testing.assert_array_equal(found, np.rint(255 * share / (np.log(13.5) - np.log(3.51))).ravel())
    assert found[0] == 0 and found[-1] == 255 and "depth" in demos.about.groups["depth"].unit


def test_depth_videos_keep_the_upper_eight_of_their_twelve_bits(tmp_path: Path) -> None:
    import av

    if "libx265" not in av.codecs_available:
        pytest.skip("this build of PyAV has no libx265")
    codes = np.linspace(0, 4095, 96 * 128).reshape(96, 128).astype(np.uint16)
    folder = so101.write(tmp_path / "arm", "none", (3, 3))
    feature = {**CAMERA, "shape": [96, 128, 1], "info": {"is_depth_map": True, "depth_unit": "mm"}}
    so101.edit_info(folder, lambda info: info["features"].update({"observation.images.front": feature}))
    path = folder / "videos/observation.images.front/chunk-000/file-000.mp4"
    so101.film(path, np.stack([codes] * 6), "libx265", pix_fmt="gray12le", format="gray12le")
    so101.edit_rows(folder, in_one_video)
    found = read_dataset(folder, ["front"]).frames["front"][4]
    assert found.shape == (1, 96, 128) and np.abs(found[0] - codes / 4095 * 255).max() < 3


def test_truth_values_tables_and_features_without_a_prefix_are_read_and_texts_are_named(tmp_path: Path) -> None:
    import pyarrow as pa

    grid = np.arange(6 * 8).reshape(6, 4, 2).astype(np.float32)
    more = {
        "observation.touch": ({"dtype": "bool", "shape": [1], "names": None}, pa.array([True, False] * 3)),
        "observation.grid": ({"dtype": "float32", "shape": [4, 2], "names": None}, pa.array(grid.tolist())),
        "force": ({"dtype": "int16", "shape": [2], "names": ["x", "y"]}, pa.array([[1, 2]] * 6)),
        "note": ({"dtype": "string", "shape": [1], "names": None}, pa.array(["so"] * 6)),
    }
    demos = read_dataset(so101.write(tmp_path / "arm", "none", (3, 3), more=more))
    assert demos.frames["touch"].tolist() == [[1.0], [0.0]] * 3
    np.testing.assert_array_equal(demos.frames["grid"], grid.reshape(6, 8))
    assert demos.frames["force"].tolist() == [[1.0, 2.0]] * 6 and demos.about.names["force"] == ("x", "y")
    assert demos.about.observed == ("state", "touch", "grid")
    assert demos.said == ("note cannot be read: it is of dtype string",)
    with pytest.raises(ValueError, match="note cannot be read: it is of dtype string"):
        read_dataset(tmp_path / "arm", ["note"])


def test_parts_of_a_set_are_read_as_one_and_that_is_said(tmp_path: Path) -> None:
    folder = so101.write(tmp_path / "arm", "none")
    so101.edit_info(folder, lambda info: info.update(splits={"train": "0:2", "val": "2:3"}))
    demos = read_dataset(folder)
    assert len(demos.lengths_E) == 3 and "its parts train, val are read as one" in demos.said[0]


@pytest.mark.parametrize("names", [["state"], {"axes": ["state"]}, None, [], {"motors": so101.NAMES, "more": []}])
def test_what_is_no_list_of_the_numbers_names_names_none(tmp_path: Path, names: object) -> None:
    assert about(so101.write(tmp_path / "arm", "none", names=names)).names == {}


@pytest.mark.parametrize("names", [{"motors": so101.NAMES}, [so101.NAMES], {n: k for k, n in enumerate(so101.NAMES)}])
def test_names_are_taken_in_any_of_the_ways_that_people_write_them(tmp_path: Path, names: object) -> None:
    assert about(so101.write(tmp_path / "arm", "none", names=names)).names["action"] == tuple(so101.NAMES)


def test_keys_say_what_a_set_calls_otherwise(tmp_path: Path) -> None:
    folder = so101.write(tmp_path / "arm", "image", (3, 3))
    names = {"action": "actions", "observation.state": "state", "observation.images.front": "image"}
    so101.edit_table(folder, lambda table: table.rename_columns([names.get(n, n) for n in table.column_names]))
    so101.edit_info(folder, lambda i: i.update(features={names.get(n, n): f for n, f in i["features"].items()}))
    with pytest.raises(ValueError, match=r"demos_keys=\{action: actions\}"):
        about(folder)
    reading = Reading({"action": "actions", "state": "state", "front": "image"})
    demos = read_dataset(folder, ["state", "front"], reading)
    assert demos.about.observed == ("state", "front", "wrist")
    np.testing.assert_array_equal(demos.action_FA, so101.numbers((3, 3))[1])
    with pytest.raises(ValueError, match="demos_keys.state: .* no feature 'stat': did you mean 'state'"):
        about(folder, Reading({"action": "actions", "state": "stat"}))


def test_an_episode_that_lost_its_first_rows_keeps_the_pictures_of_its_moments(tmp_path: Path) -> None:
    folder = so101.write(tmp_path / "arm")
    so101.edit_table(folder, lambda table: table.slice(4))

    def shorten(rows: list[dict]) -> None:
        rows[0]["length"] -= 4
        for k, row in enumerate(rows):
            row["dataset_from_index"] -= 4 * (k > 0)
            row["dataset_to_index"] -= 4

    so101.edit_rows(folder, shorten)
    so101.edit_info(folder, lambda info: info.update(total_frames=info["total_frames"] - 4))
    for camera in so101.CAMERAS:
        demos = read_dataset(folder, [camera])
        found = demos.frames[camera]
        assert f"{camera}: more pictures than frames in 1 of 3 episodes, by up to 4" in demos.said[-1]
        assert [so101.moment(picture, camera) for picture in found[:]] == list(range(4, sum(so101.LENGTHS)))


def test_joints_in_another_order_are_put_in_the_first_ones_and_others_refused(tmp_path: Path) -> None:
    turned = [5, 0, 1, 2, 3, 4]
    first = so101.write(tmp_path / "first", "none")
    second = so101.write(tmp_path / "second", "none", names={"motors": [so101.NAMES[k] for k in turned]})
    for name in ("action", "observation.state"):
        so101.edit_table(
            second, lambda t, name=name: so101.column(t, name, np.array(t[name].to_pylist())[:, turned].tolist())
        )
    parts = [read_dataset(path, ["state"]) for path in (first, second)]
    assert not np.array_equal(parts[0].action_FA, parts[1].action_FA)
    both = together(parts)
    for values in (both.action_FA, both.frames["state"]):
        np.testing.assert_array_equal(values[:35], values[35:])
    assert both.said.count("dataset 2: the numbers of action are put in the order of the first dataset") == 1
    third = so101.write(tmp_path / "third", "none", names=["a", "b", "c", "d", "e", "f"])
    with pytest.raises(ValueError, match="dataset 2 calls the numbers of state a, b, c"):
        together([parts[0], read_dataset(third, ["state"])])


def test_failed_episodes_are_left_out_and_counted(tmp_path: Path) -> None:
    import pyarrow as pa

    won = np.zeros(35, bool)
    won[[11, 34]] = True
    more = {"next.success": ({"dtype": "bool", "shape": [1], "names": None}, pa.array(won))}
    folder = so101.write(tmp_path / "arm", "image", more=more)
    demos = read_dataset(folder, ["state", "front"], failed=False)
    assert demos.lengths_E.tolist() == [12, 14] and demos.episodes_E.tolist() == [0, 2]
    assert "2 of 3 episodes succeeded and are used" in demos.said
    kept = [*range(12), *range(21, 35)]
    np.testing.assert_array_equal(demos.frames["state"], so101.numbers()[0][kept])
    assert [so101.moment(picture, "front") for picture in demos.frames["front"][:]] == kept
    so101.edit_table(folder, lambda table: so101.column(table, "next.success", [False] * 35))
    with pytest.raises(ValueError, match="none of the 3 episodes succeeded.*failed=true"):
        read_dataset(folder, ["state"], failed=False)
    silent = read_dataset(so101.write(tmp_path / "silent", "none"), ["state"], failed=False)
    assert len(silent.lengths_E) == 3 and "does not say which succeeded" in silent.said[-1]


def test_pictures_are_resized_on_reading_to_the_mean_of_what_each_pixel_covers(arm: Path) -> None:
    demos = read_dataset(arm, ["front"], Reading(image_size=(24, 32)))
    assert demos.about.groups["front"].shape == (3, 24, 32) == demos.frames["front"].shape[1:]
    whole = read_dataset(arm, ["front"]).frames["front"][20].astype(float)
    mean = whole.reshape(3, 24, 4, 32, 4).mean((2, 4))
    assert np.abs(demos.frames["front"][20] - mean).max() <= 0.5


def test_no_more_pictures_are_kept_than_the_memory_holds_and_none_is_decoded_unseen(arm: Path) -> None:
    size = 3 * so101.HEIGHT * so101.WIDTH
    memory = Memory(13 * size)
    demos = read_dataset(arm, ["front", "wrist"], memory=memory)
    assert memory.left == 13 * size
    assert so101.moment(demos.frames["front"][0], "front") == 0
    assert memory.left == size  # the first episode, twelve pictures, and room for one more
    for frame in (20, 3, 34, 20):
        for camera in so101.CAMERAS:
            assert so101.moment(demos.frames[camera][frame], camera) == frame
    assert memory.left == size


def test_pictures_are_indexed_like_an_array(arm: Path) -> None:
    pictures = read_dataset(arm, ["front"]).frames["front"]
    assert pictures.shape == (35, 3, 96, 128) and pictures.nbytes == 35 * 3 * 96 * 128
    whole = pictures[:]
    for index in (7, -1, slice(3, 9), np.array([4, 4, 0]), np.arange(35) % 9 == 0, np.array([], int)):
        np.testing.assert_array_equal(pictures[index], whole[index])
