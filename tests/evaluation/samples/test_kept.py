"""Samples come back as they were kept; of a stranger's folder nothing is read but the files that belong to it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodkd.evaluation.samples.kept import FILE, LARGEST, Sample, Samples, Shown, samples_of
from embodkd.evaluation.samples.media import png, wav

PNG, WAV = png(np.zeros((2, 3), np.uint8)), wav(np.zeros(5), 8000)
shown = st.builds(Shown, st.text(), st.sampled_from([b"", PNG]), st.sampled_from([b"", WAV]))
rows = st.lists(st.builds(Sample, shown, shown, shown, st.sampled_from([None, True, False])), max_size=3)


@given(rows=rows, about=st.text())
def test_what_was_kept_comes_back(rows, about, tmp_path_factory) -> None:
    samples = Samples(about, tuple(rows), "0123")
    folder = tmp_path_factory.mktemp("run") / "evaluation_samples"
    Samples("an older one", (Sample(Shown("a", PNG), Shown("b")),) * 4).save(folder)
    samples.save(folder)
    assert Samples.load(folder) == samples
    files = sum(
        bool(content) for row in rows for one in (row.asked, row.made, row.truth) for content in (one.png, one.wav)
    )
    assert len(list(folder.iterdir())) == files + 1, "nothing of the older one is left"


def test_those_of_another_part_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    assert samples_of(tmp_path / "evaluation.json").name == "evaluation_samples"
    assert samples_of(tmp_path / "evaluation_validation.json").name == "evaluation_validation_samples"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Samples("two", (Sample(Shown("a"), Shown(png=PNG)), Sample(Shown("b"), Shown(wav=WAV)))).save(tmp_path / "s")
    return tmp_path / "s"


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "made.png/../../secret.png", "made.exe", ""])
def test_a_name_that_is_none_of_ours_opens_no_file(folder: Path, name: str) -> None:
    (folder.parent / "secret.png").write_bytes(PNG + b"secret")
    said = json.loads((folder / FILE).read_text())
    said["samples"][0]["files"] = [name]
    (folder / FILE).write_text(json.dumps(said))
    assert Samples.load(folder).rows[0] == Sample(Shown("a"), Shown())


def test_a_link_a_stranger_and_a_giant_are_each_one_error(folder: Path) -> None:
    picture, sound = folder / "0_made.png", folder / "1_made.wav"
    for content, said in ((b"<svg onload=alert(1)>", "is no PNG"), (PNG + bytes(LARGEST), "more than 5,000,000 bytes")):
        picture.write_bytes(content)
        with pytest.raises(ValueError, match=f"0_made.png: {said}"):
            Samples.load(folder)
    picture.unlink()
    with pytest.raises(ValueError, match="0_made.png: no such file"):
        Samples.load(folder)
    (folder.parent / "secret.png").write_bytes(PNG)
    picture.symlink_to(folder.parent / "secret.png")
    with pytest.raises(ValueError, match="0_made.png: is a link"):
        Samples.load(folder)
    picture.unlink()
    picture.write_bytes(PNG)
    sound.write_bytes(PNG)
    with pytest.raises(ValueError, match="1_made.wav: is no WAV"):
        Samples.load(folder)


@pytest.mark.parametrize(
    "broken", [{"about": 3}, {"samples": {}}, {"samples": [{"asked": "a"}]}, {"samples": [3]}, {"weights_sha256": 1}]
)
def test_another_shape_is_an_error_that_names_the_file(folder: Path, broken: dict[str, object]) -> None:
    (folder / FILE).write_text(json.dumps({**json.loads((folder / FILE).read_text()), **broken}))
    with pytest.raises(ValueError, match=f"{FILE}.*{next(iter(broken))}"):
        Samples.load(folder)


def test_what_is_too_large_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="make it smaller"):
        Samples("", (Sample(Shown(), Shown(wav=WAV + bytes(LARGEST))),)).save(tmp_path / "s")
    assert not list(tmp_path.iterdir())
