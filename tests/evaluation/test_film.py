"""Videos decode, have the frames that were added, and show the right pictures; a failed one leaves nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from coin import Coin, Fixed, guesser, knower, seer
from embodkd.envs import Group, make_task

from embodkd.evaluation import evaluate, pictures
from embodkd.evaluation.film import HEADER, PANEL, film
from embodkd.evaluation.video import VideoWriter

av = pytest.importorskip("av")


def _decode(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_video_decodes_to_the_frames_that_were_added_at_their_rate(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", fps=1 / 0.048) as video:
        for number in range(17):
            video.add(np.full((64, 96, 3), 10 * number, np.uint8))
    frames = _decode(tmp_path / "a.mp4")
    assert len(frames) == video.frames == 17
    assert [int(frame.mean()) for frame in frames] == pytest.approx([10 * n for n in range(17)], abs=4)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(1 / 0.048, rel=1e-3)
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_what_is_not_finished_is_no_film_to_others(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 10) as video:
        for _ in range(80):  # more than the encoder looks ahead
            video.add(np.zeros((64, 64, 3), np.uint8))
        assert len(list(tmp_path.iterdir())) == 1 and not list(tmp_path.glob("*.mp4"))
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_a_broken_or_empty_video_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyError), VideoWriter(tmp_path / "a.mp4", 10) as video:
        video.add(np.zeros((64, 64, 3), np.uint8))
        raise KeyError
    with pytest.raises(ValueError, match="without frames"), VideoWriter(tmp_path / "a.mp4", 10):
        pass
    with pytest.raises(ValueError, match="even sides"), VideoWriter(tmp_path / "a.mp4", 10) as video:
        video.add(np.zeros((63, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="mp4"):
        VideoWriter(tmp_path / "a.gif", 10)
    assert list(tmp_path.iterdir()) == []


def test_a_film_shows_every_policy_on_the_same_seeds_and_stamps_the_outcome(tmp_path: Path) -> None:
    made = film({"teacher": knower(), "student": seer()}, Coin(2), episodes=3, seed=4, out=tmp_path)
    assert made.path == tmp_path / "rollout.mp4"
    assert made.successes == ({"teacher": True, "student": True},) * 3
    frames = _decode(made.path)
    steps = sum(3 + seed % 4 for seed in (4, 5, 6))
    assert len(frames) == made.frames == steps + 3 * 10  # one second of outcome after each, at 10 Hz
    teacher, student = (frames[0][HEADER : HEADER + PANEL, x : x + 200].mean() for x in (40, 40 + PANEL + 8))
    assert teacher == pytest.approx(student, abs=3)
    green = np.array(pictures.GOOD)
    assert (np.abs(frames[-1].astype(int) - green).max(axis=2) < 40).sum() > 500
    assert (np.abs(frames[0].astype(int) - green).max(axis=2) < 40).sum() == 0


def test_a_task_that_tells_has_its_phase_in_each_copy_s_picture_until_the_copy_s_episode_is_over(
    tmp_path: Path,
) -> None:
    def badges(frame: np.ndarray) -> list[bool]:
        near = np.abs(frame[HEADER : HEADER + PANEL].astype(int) - np.array(pictures.WAITING)).max(axis=2) < 12
        return [bool(near[-40:, x : x + PANEL // 2].sum() > 300) for x in (8, 8 + PANEL + 8)]

    task = Coin(2)
    place = task._place
    task._place = lambda ids, seeds: (place(ids, seeds), task.length.__setitem__(1, 2))[0]  # type: ignore[method-assign]
    task.phases = lambda: ("carry", "insert peg")  # type: ignore[method-assign]
    frames = _decode(film({"a": knower(), "b": guesser()}, task, episodes=1, seed=3, out=tmp_path / "b.mp4").path)
    # the second copy's episode is over after two of the six steps
    assert [badges(frame) for frame in frames] == [[True, True]] * 2 + [[True, False]] * 4 + [[False, False]] * 10
    silent = _decode(film({"a": knower(), "b": guesser()}, Coin(2), episodes=1, seed=3, out=tmp_path / "c.mp4").path)
    assert not any(any(badges(frame)) for frame in silent)


def test_a_policy_that_ends_early_waits_for_the_others(tmp_path: Path) -> None:
    task = Coin(2)
    place = task._place
    task._place = lambda ids, seeds: (place(ids, seeds), task.length.__setitem__(1, 2))[0]  # type: ignore[method-assign]
    made = film({"a": knower(), "b": guesser()}, task, episodes=1, seed=3, out=tmp_path / "b.mp4")
    assert made.frames == 6 + 10


def test_a_film_shows_the_outcomes_that_an_evaluation_counts(tmp_path: Path) -> None:
    judged = evaluate(guesser(), Coin(4), episodes=6, seed=9, quiet=True)
    made = film({"student": guesser()}, Coin(1), episodes=6, seed=judged.outcomes[0].seed, out=tmp_path)
    assert [won["student"] for won in made.successes] == [o.success for o in judged.outcomes]
    assert 0 < judged.successes < 6


def test_the_real_task_films(tmp_path: Path) -> None:
    task = make_task("peg_hole", 1)
    task.spec = task.spec.__class__(**{**task.spec.__dict__, "max_steps": 3})
    still = Fixed(["proprio", "front_rgb", "points"], lambda obs: np.zeros(len(obs["proprio"])))
    still.act = lambda obs: np.zeros((len(obs["proprio"]), 6), np.float32)  # type: ignore[method-assign]
    frames = _decode(film({"student": still}, task, episodes=1, out=tmp_path).path)
    assert frames[0][HEADER + 10 : HEADER + PANEL, 20:280].std() > 20
    assert frames[0].shape[1] > PANEL + PANEL // 2


def test_depth_colours_run_from_bright_near_to_dark_far_and_pixels_stay_square() -> None:
    group = Group("wrist_depth", (1, 2, 2), False, "-", "", dtype="uint8")
    picture = pictures.eye_picture(group, np.array([[[0, 85], [170, 255]]], np.uint8), 40)
    brightness = [picture[y, x].mean() for y, x in ((5, 5), (5, 35), (35, 5), (35, 35))]
    assert brightness == sorted(brightness, reverse=True)
    assert picture.shape == (40, 40, 3) and (picture[:20, :20] == picture[0, 0]).all()


def test_no_policy_or_a_wrong_number_of_copies_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one policy"):
        film({}, Coin(1))
    with pytest.raises(ValueError, match="2 policies need"):
        film({"a": knower(), "b": knower()}, Coin(3))
