"""Datasets that contradict themselves: each is refused in one error naming file and field, none is believed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import so101
from broken_sets import BROKEN, DATA, EPISODES, FRONT, IN_TABLES, LENGTHS, column

from embodkd.data.lerobot import about, read_dataset


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return so101.write(tmp_path_factory.mktemp("whole") / "arm", "video", LENGTHS, codec="libx264")


def read_all(folder: Path) -> None:
    """All that there is, to the last picture."""
    demos = read_dataset(folder)
    for values in demos.frames.values():
        assert len(values[:]) == len(demos.action_FA)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("fault", BROKEN)
def test_what_contradicts_itself_is_refused_by_file_and_field(whole: Path, tmp_path: Path, fault: str) -> None:
    break_it, message = BROKEN[fault]
    folder = Path(shutil.copytree(whole, tmp_path / "arm"))
    break_it(folder)
    with pytest.raises(ValueError, match=message) as refused:
        read_all(folder)
    assert "arm" in str(refused.value) or "demos_keys" in str(refused.value)
    # What the terminal prints as one line is raised by our own code.
    assert str(refused.traceback[-1].frame.f_globals["__name__"]).startswith("embodkd.")


@pytest.fixture(scope="module")
def in_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return so101.write(tmp_path_factory.mktemp("tables") / "arm", "image", LENGTHS)


@pytest.mark.parametrize("fault", IN_TABLES)
def test_a_picture_that_is_none_is_refused_by_its_frame(in_tables: Path, tmp_path: Path, fault: str) -> None:
    change, message = IN_TABLES[fault]
    folder = Path(shutil.copytree(in_tables, tmp_path / "arm"))
    column(FRONT, change)(folder)
    with pytest.raises(ValueError, match=message):
        read_all(folder)


def test_what_systems_put_beside_files_is_not_read_and_a_byte_order_mark_is(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "arm"))
    for name in (DATA, EPISODES):
        (folder / name).with_name(f"._{Path(name).name}").write_bytes(b"\0\5\x16\7")
    info = folder / "meta/info.json"
    info.write_text("\ufeff" + info.read_text(), encoding="utf-8")
    read_all(folder)
    assert about(folder) == about(whole)


def test_the_sets_that_are_broken_here_are_whole_before(whole: Path, in_tables: Path) -> None:
    read_all(whole)
    read_all(in_tables)
