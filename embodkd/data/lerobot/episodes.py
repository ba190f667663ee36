"""Where each episode's frames and pictures are, after everything in a dataset that could contradict something else in
it has been compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embodkd.data.lerobot.info import MEND, Info
from embodkd.data.lerobot.tables import has_column, read_columns, read_texts, row_count

# Clocks of real recordings are uneven; this far from the frames' distance, the rate itself is another.
UNEVEN = 0.1


@dataclass(frozen=True)
class Episodes:
    """E episodes of F frames in all, one after the other.

    length_E; second_F: the time of each frame in its episode; success_E: how each ended, None where that is not said;
    task_F: the number of the sentence of each frame; videos: camera -> (chunk, file, second in the file at which the
    episode begins), (E, 3); said: what a user should hear of them.
    """

    length_E: np.ndarray
    second_F: np.ndarray
    success_E: np.ndarray | None
    task_F: np.ndarray | None
    videos: dict[str, np.ndarray]
    said: tuple[str, ...] = ()

    @property
    def start_E(self) -> np.ndarray:
        """The first frame of each."""
        return np.cumsum(self.length_E) - self.length_E

    def place(self, frame: int) -> str:
        """That frame in words: "episode 3, frame 17"."""
        episode = int(np.searchsorted(self.start_E, frame, "right")) - 1
        return f"episode {episode}, frame {frame - int(self.start_E[episode])}"


def read_episodes(info: Info, videos: Sequence[str], sentences: tuple[str, ...]) -> Episodes:
    """Those of a dataset, with the places of these cameras' videos.

    ValueError that names the file and the field if counts, order, rates or texts of the tables contradict each other.
    """
    length_E, places = _table(info, videos)
    columns = {"episode_index": 1, "frame_index": 1, "timestamp": 1}
    optional = [name for name in ("index", "task_index", "next.success") if name in info.features]
    rows = read_columns(info.where, "data", {**columns, **dict.fromkeys(optional, 1)})
    data = info.where / "data"
    if not np.array_equal(rows["episode_index"], np.repeat(np.arange(len(length_E)), length_E)):
        wrong = int(np.flatnonzero(rows["episode_index"] != np.repeat(np.arange(len(length_E)), length_E))[0])
        raise ValueError(
            f"{data}: row {wrong} is of episode {rows['episode_index'][wrong]}: the rows are not in the order and of "
            f"the lengths that meta/episodes says; fetch or write them anew"
        )
    found = Episodes(length_E, rows["timestamp"].astype(np.float64), None, rows.get("task_index"), places)
    _in_order(found, rows["frame_index"], lambda at: f"{data}: {found.place(at)}: frame_index")
    if "index" in rows:
        _in_order(None, rows["index"], lambda at: f"{data}: row {at}: index", steps=False)
    _even(found, info)
    if "task_index" in rows:
        _same_sentences(found, info, sentences)
    _first_rows(found, info)
    won_E = None
    if "next.success" in rows:
        won_E = np.logical_or.reduceat(rows["next.success"].astype(bool), found.start_E)
    return Episodes(length_E, found.second_F, won_E, found.task_F, places, _spans(found, info, videos))


def finite(values: np.ndarray, episodes: Episodes, where: Path, feature: str) -> np.ndarray:
    """The same values (F, ...); ValueError naming dataset, feature, episode and frame of the first not finite one."""
    good_F = np.isfinite(values).reshape(len(values), -1).all(1)
    if not good_F.all():
        bad = np.flatnonzero(~good_F)
        raise ValueError(
            f"{where}: {feature} is not finite in {episodes.place(int(bad[0]))} ({len(bad)} such frames in all); take "
            "the episodes out of the dataset, or mend them"
        )
    return values


def _table(info: Info, videos: Sequence[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """meta/episodes: (lengths, places of the videos), as many as info.json and the rows say."""
    keys = ("chunk_index", "file_index", "from_timestamp")
    wanted = ["episode_index", "length", *(f"videos/{feature}/{key}" for feature in videos for key in keys)]
    file = info.where / "meta/episodes"
    counted, there = row_count(info.where, "meta/episodes"), row_count(info.where, "data")
    if counted != info.episodes or there != info.frames:
        raise ValueError(
            f"{info.where}: {there} frames and {counted} episodes are there, {info.file.relative_to(info.where)} says "
            f"{info.frames} and {info.episodes}; the dataset is not complete, fetch or write it anew"
        )
    rows = read_columns(info.where, "meta/episodes", dict.fromkeys(wanted, 1))
    if not np.array_equal(rows["episode_index"], np.arange(counted)):
        raise ValueError(f"{file}: episode_index does not count from 0 to {counted - 1}; {MEND}")
    length_E = rows["length"]
    if (length_E < 1).any() or (length_E > there).any() or int(length_E.sum()) != there:
        raise ValueError(
            f"{file}: length: the episodes have {length_E.sum()} frames in all, {there} are in data/; the frames do "
            "not fit the lengths, fetch or write them anew"
        )
    places = {}
    for feature in videos:
        place = np.stack([rows[f"videos/{feature}/{key}"].astype(np.float64) for key in keys], axis=1)
        bad = ~np.isfinite(place).all(1) | (place < 0).any(1)
        if bad.any():
            raise ValueError(
                f"{file}: videos/{feature}: chunk_index, file_index and from_timestamp of episode "
                f"{np.flatnonzero(bad)[0]} are {place[bad][0].tolist()}; {MEND}"
            )
        places[feature] = place
    return length_E.astype(np.int64), places


def _first_rows(episodes: Episodes, info: Info) -> None:
    """Where meta/episodes says in which rows an episode begins and ends, it is there."""
    begins_E = episodes.start_E
    for name, expected_E in (("dataset_from_index", begins_E), ("dataset_to_index", begins_E + episodes.length_E)):
        if not has_column(info.where, "meta/episodes", name):
            continue
        said_E = read_columns(info.where, "meta/episodes", {name: 1})[name]
        if not np.array_equal(said_E, expected_E):
            episode = int(np.flatnonzero(said_E != expected_E)[0])
            raise ValueError(
                f"{info.where / 'meta/episodes'}: {name} of episode {episode} is {said_E[episode]}, by the lengths it "
                f"is {expected_E[episode]}: others would read other frames there; write the table anew"
            )


def _spans(episodes: Episodes, info: Info, videos: Sequence[str]) -> tuple[str, ...]:
    """Which episodes have more pictures than frames, as where somebody cut frames out of the tables alone; ValueError
    for one with fewer, whose last frames would get the pictures of another episode."""
    lines = []
    last_E = episodes.second_F[episodes.start_E + episodes.length_E - 1]
    for feature in videos:
        begin_E = episodes.videos[feature][:, 2]
        ends = f"videos/{feature}/to_timestamp"
        if not has_column(info.where, "meta/episodes", ends):
            continue
        end_E = read_columns(info.where, "meta/episodes", {ends: 1})[ends]
        short = ~(end_E - begin_E - last_E > 0.499 / info.fps)
        if short.any():
            episode = int(np.flatnonzero(short)[0])
            raise ValueError(
                f"{info.where}: episode {episode} has frames until {last_E[episode]:.4g} s, meta/episodes gives it "
                f"only {end_E[episode] - begin_E[episode]:.4g} s of {feature}; fetch or write them anew"
            )
        spare_E = (end_E - begin_E) * info.fps - episodes.length_E
        if (spare_E > 0.5).any():
            lines.append(
                f"{feature}: more pictures than frames in {(spare_E > 0.5).sum()} of {len(spare_E)} episodes, by up to "
                f"{round(float(spare_E.max()))}: each frame gets the picture of its timestamp"
            )
    return tuple(lines)


def _in_order(episodes: Episodes | None, value_F: np.ndarray, place: Callable[[int], str], steps: bool = True) -> None:
    """Each value above the former one, by one if `steps`; episodes may begin anew."""
    step_F = np.diff(value_F.astype(np.int64))
    wrong = step_F != 1 if steps else step_F < 1
    if episodes is not None:
        wrong[episodes.start_E[1:] - 1] = False
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0]) + 1
        raise ValueError(
            f"{place(at)} is {value_F[at]} after {value_F[at - 1]}: rows are missing or out of order; {MEND}"
        )


def _even(episodes: Episodes, info: Info) -> None:
    """Time goes on by one frame per row, at the rate that info.json says, to within half a frame."""
    second_F, frame = finite(episodes.second_F, episodes, info.where, "timestamp"), 1.0 / info.fps
    step_F = np.diff(second_F)
    inside = np.ones(len(step_F), bool)
    inside[episodes.start_E[1:] - 1] = False
    if not inside.any():
        return
    usual = float(np.median(step_F[inside]))
    if abs(usual - frame) > UNEVEN * frame:
        raise ValueError(
            f"{info.where}: timestamp steps by {usual:.4g} s in data/, {info.file} says fps {info.fps:g}, which is "
            f"{frame:.4g} s; mend whichever is wrong"
        )
    wrong = inside & (np.abs(step_F - frame) > frame / 2)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0]) + 1
        raise ValueError(
            f"{info.where}: {episodes.place(at)}: timestamp is {second_F[at]:.4g} s after {second_F[at - 1]:.4g} s, at "
            f"{info.fps:g} frames per second one frame is {frame:.4g} s: rows are missing; split the episode there"
        )


def _same_sentences(episodes: Episodes, info: Info, sentences: tuple[str, ...]) -> None:
    """The numbers of sentences are known ones, and those of an episode are the ones that meta/episodes names."""
    task_F = episodes.task_F
    assert task_F is not None
    outside = (task_F < 0) | (task_F >= len(sentences))
    if sentences and outside.any():
        at = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"{info.where}: {episodes.place(at)}: task_index is {task_F[at]}, meta/tasks.parquet has {len(sentences)} "
            "sentences; fetch or write them anew"
        )
    said_E = read_texts(info.where, "meta/episodes", "tasks") if sentences else []
    for episode, said in enumerate(said_E):
        first = int(episodes.start_E[episode])
        here = {sentences[k] for k in np.unique(task_F[first : first + int(episodes.length_E[episode])])}
        if not isinstance(said, list) or not here <= set(said):
            raise ValueError(
                f"{info.where}: episode {episode} is told {sorted(here)} by its frames' task_index, meta/episodes says "
                f"tasks {said}; fetch or write them anew"
            )
