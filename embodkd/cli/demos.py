"""`embodkd distill student demos=...`: a student from stored demonstrations, without a simulator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embodkd.cli.common import needed, policy_folder, simulated, task_options, without_name
from embodkd.cli.groups import Student, Task
from embodkd.cli.judge_recorded import judge_recorded
from embodkd.cli.learn import Learn, Lesson
from embodkd.cli.made_of import items_of, learned_by, lineage_of
from embodkd.cli.recorded import check_range, demos_folders, opened, seen, sizes_of, told
from embodkd.core.config.ranges import Judged, Part, Pixels, Positive
from embodkd.core.sources.action import ActionFacts

if TYPE_CHECKING:
    import numpy as np

    from embodkd.data.lerobot import About, Reading
    from embodkd.policies import Policy


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
        from embodkd.core.fingerprint import digest
        from embodkd.core.runs.artefact import few_enough
        from embodkd.data.lerobot import Memory, about, together
        from embodkd.data.windows import chunks_of
        from embodkd.policies import ChunkPolicy, load_policy, make_policy, save_policy

        given = needed(self.demos or None, "demos", "embodkd distill student demos=runs/demos_peg_assembly")
        folders = demos_folders(given)
        reading = self._reading(folders)
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
        if arguments.get("sentences"):
            said.append(f"the student is told which of {len(arguments['sentences'])} sentences was said")
        student = make_policy(self.student["name"], facts.groups, facts.action_size, **arguments)
        if not isinstance(student, ChunkPolicy):
            raise ValueError(
                f"student={self.student['name']} predicts no chunks of actions: choose diffusion or mlp_chunk"
            )
        memory = Memory(self.memory_gb * 1e9)
        parts = [opened(path, student.reads, reading, failed=self.failed, memory=memory) for path in folders]
        for path, part in zip(folders, parts, strict=True) if in_simulator else ():
            check_range(part, path)
        data = told(together(parts), student)
        said += [*data.said, *sizes_of(data, self.memory_gb)]
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
        if in_simulator:
            self._check_simulated(facts, folders[0], student)
        else:
            student.acts(_actions(facts, chunks.train.shown(())[1], self.units))
        task = {"name": folders[0].name, "engine": None, **facts.task, "control_hz": facts.fps}
        windows = {"train": chunks.train.size(), "held_out": chunks.held_out.size(), "said": chunks.said}
        made_of = lineage_of(folders, parts, chunks)
        lineage: dict[str, Any] = {"demos": made_of[0] if len(made_of) == 1 else made_of, "windows": windows}
        items = items_of(data, chunks)
        if taught is not None:
            lineage["teacher"] = {"policy": str(taught), "lineage": meta["lineage"]}
            items["teacher_trained"] = learned_by(taught)
        places = {name: facts.places[name] for name in (*student.reads, ACTION) if name in facts.places}
        extra = {"places": places, "action_named": ACTION in facts.names}
        extra |= {"demos_keys": dict(self.demos_keys)} if self.demos_keys else {}
        extra |= {"demos_failed": True} if self.failed else {}

        few = min(int(data.lengths_E[0]), few_enough({name: data.frames[name] for name in student.reads}))
        episode = {name: data.frames[name][:few] for name in student.reads}

        def judged(run: Path) -> Any:
            if not self.episodes:
                return None
            if in_simulator:
                return judge(run / "policy", episodes=self.episodes, seed=0, quiet=self.quiet)
            # The pictures that were learned from are still kept: what is looked at now shares their room.
            rest: dict[str, Any] = {"failed": self.failed, "memory": memory, "quiet": self.quiet}
            return judge_recorded(run / "policy", list(map(str, folders)), episodes=self.episodes, **rest)

        yield Lesson(
            student,
            teacher,
            chunks,
            run=f"runs/{self.student['name']}_{task['name']}",
            lineage=lineage,
            save=lambda model, run, lineage: save_policy(
                run / "policy", model, task=task, lineage=lineage, extra=extra, items=items, episode=episode
            ),
            judge=judged,
            said=(*said, chunks.said),
            digest=digest([data.frames, data.action_FA, data.lengths_E], "demos"),
            given={"teacher": taught},
        )

    def _check_simulated(self, facts: About, where: Path, student: Policy) -> None:
        """ValueError for what does not go together with a student that acts in a simulated task, or is judged there."""
        name, rate = facts.task["name"], facts.task.get("control_hz", facts.fps)
        if self.units is not None:
            raise ValueError(f"units: the actions of {name} are fractions of its limits; leave it out")
        if not self.episodes:
            return
        if self.image_size is not None and any(group.is_image for group in student.inputs.values()):
            raise ValueError(
                f"image_size={self.image_size}: the policy is judged in {name}, whose cameras have the size that was "
                "recorded: record with another task.image_size, or say episodes=0"
            )
        if not math.isclose(rate, facts.fps, rel_tol=1e-3):
            raise ValueError(
                f"{where}: has {facts.fps:.4g} frames a second, task {name!r} {rate:.4g} control steps: a student is "
                "judged at the rate that it learned; say episodes=0, or record at the task's rate"
            )

    def _reading(self, folders: Sequence[Path]) -> Reading:
        """How to read them; ValueError for a dataset that names another task than the key does."""
        from embodkd.core.sources.group import GroupFacts
        from embodkd.data.lerobot import Reading, about
        from embodkd.envs import make_task
        from embodkd.policies import task_record

        size = (self.image_size,) * 2 if isinstance(self.image_size, int) else self.image_size
        if self.task is None:
            return Reading(self.demos_keys, size)
        for path in folders:
            own = about(path, Reading(self.demos_keys, size)).task.get("name", self.task["name"])
            if own != self.task["name"]:
                raise ValueError(
                    f"{path}: was recorded in task {own!r}, and task={self.task['name']}: leave the key out, which is "
                    "for datasets that have lost their own facts"
                )
        world = make_task(self.task["name"], 1, **task_options(self.task, None, None))
        try:
            known = {name: GroupFacts.of(group) for name, group in world.spec.groups.items()}
            return Reading(self.demos_keys, size, known, task_record(world.spec))
        finally:
            world.close()


def _actions(facts: About, shown_FA: np.ndarray, units: str | list[str] | None) -> ActionFacts:
    """What the dataset's actions are; a policy stays within what it was shown."""
    if not isinstance(units, (str, type(None))) and len(units) != facts.action_size:
        raise ValueError(
            f"units: {len(units)} of them for {facts.action_size} actions; give one for all, or one for each"
        )
    low, high = shown_FA.min(0).tolist(), shown_FA.max(0).tolist()
    return ActionFacts.of(facts.action_size, facts.names.get(ACTION, ()), units or "", low, high)
