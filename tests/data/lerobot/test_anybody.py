"""Datasets of others, in the shapes that lerobot's own writer gives them: all that they hold is read, or named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import so101

from embodkd.data.lerobot import about, read_dataset, together

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
    said = [[rows[e % 2]["task"]] for e in range(3)]
    _replace(other, "meta/episodes/chunk-000/file-000.parquet", tasks=said)
    both = together([read_dataset(path, ["state", "task"]) for path in (arm, other)])
    assert both.about.tasks == (*so101.SENTENCES, "Wave.")
    assert both.frames["task"][35:, 0].tolist() == [1] * 12 + [2] * 9 + [1] * 14


def _replace(folder: Path, name: str, **columns: object) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(folder / name)
    for column, values in columns.items():
        table = table.set_column(table.column_names.index(column), column, pa.array(values))
    parquet.write_table(table, folder / name)


def test_about_is_what_is_read(arm: Path) -> None:
    assert about(arm) == read_dataset(arm, ["state"]).about
