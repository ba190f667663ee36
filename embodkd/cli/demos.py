"""`embodkd distill student demos=...`: a student from stored demonstrations, without a simulator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

<<<<<<< HEAD
from embodkd.cli.common import Choice, needed, policy_folder, simulated, task_options, without_name
from embodkd.cli.judge_recorded import judge_recorded
from embodkd.cli.learn import Learn, Lesson
from embodkd.cli.recorded import check_range, demos_folders, seen, sizes_of, told
from embodkd.core.config.ranges import Count, Positive
from embodkd.core.sources.action import ActionFacts
=======
from embodkd.cli.common import needed, policy_folder, task_options, without_name
from embodkd.cli.groups import Student, Task
from embodkd.cli.learn import Learn, Lesson
from embodkd.core.config.ranges import Judged, Part, Pixels, Positive
>>>>>>> main

if TYPE_CHECKING:
    import numpy as np

    from embodkd.data.lerobot import About, Demonstrations, Reading
    from embodkd.data.windows import Chunks


ACTION = "action"


@dataclass(frozen=True, kw_only=True)
class DistillDemos(Learn):
    """Imitate the dataset `demos`, or several together, keep the student in `run`/policy, judge it in the task that the
    first names, or by the episodes that were held out where there is no simulator of it."""

    demos: str | list[str] | None
    demos_keys: Mapping[str, str] | None
    image_size: Pixels | tuple[Pixels, Pixels] | None
    memory_gb: Positive
    failed: bool
    pad: Literal["repeat", "mask"]
    units: str | list[str] | None
    teacher: str | None
    held_out: Part
    episodes: Judged
    student: Student
    task: Task | None = None

    needs = "demonstrations"

    @contextmanager
    def lesson(self) -> Iterator[Lesson]:
        """The windows of the demonstrations, as long as the student's chunks."""
        from embodkd.cli.evaluate import judge
        from embodkd.core import seed_everything
        from embodkd.data.lerobot import Memory, about, read_dataset, together
        from embodkd.data.windows import chunks_of
        from embodkd.policies import ChunkPolicy, load_policy, make_policy, save_policy

        given = needed(self.demos or None, "demos", "embodkd distill student demos=runs/demos_peg_assembly")
        folders = demos_folders(given)
        reading = self._reading()
        facts = about(folders[0], reading)
        taught = None if self.teacher is None else policy_folder(self.teacher)
        teacher, meta = (None, {}) if taught is None else load_policy(taught)
        seed_everything(self.seed)
        arguments, said = seen(self.student["name"], without_name(self.student), facts)
        in_simulator = simulated(facts.task)
        if arguments.get("sentences", ()) is None:
            tasks = dict.fromkeys(sentence for path in folders for sentence in about(path, reading).tasks)
            # In a simulator nobody says anything.
            arguments["sentences"] = () if in_simulator or len(tasks) < 2 else tuple(tasks)
        student = make_policy(self.student["name"], facts.groups, facts.action_size, **arguments)
        if not isinstance(student, ChunkPolicy):
            raise ValueError(
                f"student={self.student['name']} predicts no chunks of actions: choose diffusion or mlp_chunk"
            )
        memory = Memory(self.memory_gb * 1e9)
        parts = [read_dataset(path, student.reads, reading, failed=self.failed, memory=memory) for path in folders]
        for path, part in zip(folders, parts, strict=True) if in_simulator else ():
            check_range(part, path)
        said += [f"{path}: {line}" for path, part in zip(folders, parts, strict=True) for line in part.said]
<<<<<<< HEAD
        data = told(together(parts), student)
        said += [line for line in data.said if line.startswith("dataset ")] + sizes_of(data, self.memory_gb)
        sizes = {"horizon": student.horizon, "execute": student.execute, "mask": self.pad == "mask"}
        chunks = chunks_of(data.frames, data.action_FA, data.lengths_E, **sizes, held_out=self.held_out, seed=self.seed)
        if in_simulator and self.units is not None:
            raise ValueError(f"units: the actions of {facts.task['name']} are fractions of its limits; leave it out")
        if not in_simulator:
            student.acts(_actions(facts, chunks.train.shown(())[1], self.units))
        task = {"name": folders[0].name, "engine": None, **facts.task, "control_hz": facts.fps}
=======
        data = together(parts)
        said += [line for line in data.said if line.startswith("dataset ")] + _sizes(data, self.memory_gb)
        chunks = chunks_of(
            data.frames,
            data.action_FA,
            data.lengths_E,
            horizon=student.horizon,
            execute=student.execute,
            held_out=self.held_out,
            seed=self.seed,
            mask=self.pad == "mask",
        )
        task = {"name": folders[0].name, **facts.task, "control_hz": facts.fps}
>>>>>>> main
        windows = {"train": chunks.train.size(), "held_out": chunks.held_out.size(), "said": chunks.said}
        made_of = _lineage(folders, parts, chunks)
        lineage: dict[str, Any] = {"demos": made_of[0] if len(made_of) == 1 else made_of, "windows": windows}
        items = _items(data, chunks)
        if taught is not None:
            lineage["teacher"] = {"policy": str(taught), "lineage": meta["lineage"]}
<<<<<<< HEAD
            items["teacher_trained"] = _learned(taught)
        if in_simulator and self.episodes:
=======
        judged = self.episodes and facts.task
        if judged and reading.image_size and any(group.is_image for group in student.inputs.values()):
            raise ValueError(
                f"image_size={list(reading.image_size)}: the policy is judged in {task['name']}, whose cameras have "
                "the size that was recorded: record with another task.image_size, or say episodes=0"
            )
        if judged:
>>>>>>> main
            _check_rate(facts, folders[0])
        places = {name: facts.places[name] for name in (*student.reads, ACTION) if name in facts.places}
        extra = {"places": places, "action_named": ACTION in facts.names}
        extra |= {"demos_keys": dict(self.demos_keys)} if self.demos_keys else {}

        def judged(run: Path) -> Any:
            if not self.episodes:
                return None
            if in_simulator:
                return judge(run / "policy", episodes=self.episodes, seed=0, quiet=self.quiet)
            return judge_recorded(run / "policy", list(map(str, folders)), episodes=self.episodes, quiet=self.quiet)

        yield Lesson(
            student,
            teacher,
            chunks,
            run=f"runs/{self.student['name']}_{task['name']}",
            lineage=lineage,
            save=lambda model, run, lineage: save_policy(
                run / "policy", model, task=task, lineage=lineage, extra=extra, items=items
            ),
            judge=judged,
            said=(*said, chunks.said),
        )

    def _reading(self) -> Reading:
        from embodkd.core.sources.group import GroupFacts
        from embodkd.data.lerobot import Reading
        from embodkd.envs import make_task
        from embodkd.policies import task_record

        size = (self.image_size,) * 2 if isinstance(self.image_size, int) else self.image_size
        if self.task is None:
            return Reading(self.demos_keys, size)
        world = make_task(self.task["name"], 1, **task_options(self.task, None, None))
        try:
            known = {name: GroupFacts.of(group) for name, group in world.spec.groups.items()}
            return Reading(self.demos_keys, size, known, task_record(world.spec))
        finally:
            world.close()


def _check_rate(facts: About, where: Path) -> None:
    """ValueError if the task, in which the student is to be judged, runs at another rate than the demonstrations."""
    rate = facts.task.get("control_hz", facts.fps)
    if not math.isclose(rate, facts.fps, rel_tol=1e-3):
        raise ValueError(
            f"{where}: has {facts.fps:.4g} frames a second, task {facts.task.get('name')!r} {rate:.4g} control steps: "
            "a student is judged at the rate that it learned; say episodes=0, or record at the task's rate"
        )


<<<<<<< HEAD
def _actions(facts: About, shown_FA: np.ndarray, units: str | list[str] | None) -> ActionFacts:
    """What the dataset's actions are; a policy stays within what it was shown."""
    if not isinstance(units, (str, type(None))) and len(units) != facts.action_size:
=======
def seen(name: str, arguments: Mapping[str, Any], facts: About) -> tuple[dict[str, Any], list[str]]:
    """(a student's arguments, what to say of them): where it reads by default a group that the dataset lacks, all
    groups that are left at their default become what the dataset has to observe. ValueError if it has nothing."""
    from embodkd.core.config.schema import parameters
    from embodkd.policies import POLICIES

    known = parameters(POLICIES.get(name))
    default = {key: tuple(known[key].default) for key in ("vectors", "cameras", "shifted") if key in known}
    left = {key: groups for key, groups in default.items() if tuple(arguments.get(key, groups)) == groups}
    lacking = [g for key, groups in left.items() if key != "shifted" for g in groups if g not in facts.groups]
    if not lacking:
        return dict(arguments), []
    groups = [facts.groups[group] for group in facts.observed if not facts.groups[group].privileged]
    pictures = [group.name for group in groups if group.is_image]
    there: dict[str, Any] = {
        "vectors": [g.name for g in groups if not g.is_image],
        "cameras": pictures,
        "shifted": pictures,
    }
    if not groups or ("vectors" in left and not there["vectors"]):
>>>>>>> main
        raise ValueError(
            f"units: {len(units)} of them for {facts.action_size} actions; give one for all, or one for each"
        )
    low, high = shown_FA.min(0).tolist(), shown_FA.max(0).tolist()
    return ActionFacts.of(facts.action_size, facts.names.get(ACTION, ()), units or "", low, high)


def _items(data: Demonstrations, chunks: Chunks) -> dict[str, Any]:
    """Use -> digests of the episodes, as a policy keeps them."""
    import numpy as np
    import torch

    ends_E = np.cumsum(data.lengths_E) - 1
    parts = {"trained": chunks.train, "held_out": chunks.held_out}
    uses = {use: np.isin(ends_E, source.windows.episodes) for use, source in parts.items()}
    return {use: torch.from_numpy(data.digests_E[used_E]) for use, used_E in uses.items()}


def _learned(policy: Path) -> Any:
    """Digests of all episodes that a teacher, or its teachers, learned from."""
    import torch

    from embodkd.policies import learned_from

    known = learned_from(policy) or {}
    return torch.cat([torch.zeros(0, dtype=torch.int64), *(v for n, v in known.items() if "trained" in n)]).unique()


def _lineage(folders: Sequence[Path], parts: Sequence[Demonstrations], chunks: Chunks) -> list[dict[str, Any]]:
    """Of each dataset: how much of it was learned from, and the numbers of the episodes, those held out apart."""
    import numpy as np

    ends_E = np.cumsum(np.concatenate([part.lengths_E for part in parts])) - 1
    used, apart = (np.isin(ends_E, source.windows.episodes) for source in (chunks.train, chunks.held_out))
    found, at = [], 0
    for path, part in zip(folders, parts, strict=True):
        here = slice(at, at + len(part.lengths_E))
        at = here.stop
        either = used[here] | apart[here]
        found.append(
            {
                "dataset": str(path),
                "episodes": int(either.sum()),
                "frames": int(part.lengths_E[either].sum()),
                "trained": _numbers(part.episodes_E[used[here]]),
                "held_out": _numbers(part.episodes_E[apart[here]]),
            }
        )
    return found


def _numbers(values: np.ndarray) -> list[int]:
    return [int(value) for value in values]
