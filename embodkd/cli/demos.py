"""`embodkd distill student demos=...`: a student from stored demonstrations, without a simulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.cli.common import needed, policy_folder, without_name
from embodkd.cli.groups import Student
from embodkd.cli.learn import Learn, Lesson
from embodkd.core.config.ranges import Judged, Part

if TYPE_CHECKING:
    from embodkd.data.lerobot import Demonstrations


@dataclass(frozen=True, kw_only=True)
class DistillDemos(Learn):
    """Imitate the dataset `demos`, or several together, keep the student in `run`/policy, judge it in the task that the
    first names, if it does."""

    demos: str | list[str] | None
    teacher: str | None
    held_out: Part
    episodes: Judged
    student: Student

    needs = "demonstrations"

    @contextmanager
    def lesson(self) -> Iterator[Lesson]:
        """The windows of the demonstrations, as long as the student's chunks."""
        from embodkd.cli.evaluate import judge
        from embodkd.core import seed_everything
        from embodkd.data.lerobot import about, read_dataset, together
        from embodkd.data.windows import chunks_of
        from embodkd.policies import ChunkPolicy, load_policy, make_policy, save_policy

        given = needed(self.demos or None, "demos", "embodkd distill student demos=runs/demos_peg_assembly")
        folders = [demos_folder(path) for path in ([given] if isinstance(given, str) else given)]
        facts = about(folders[0])
        taught = None if self.teacher is None else policy_folder(self.teacher)
        teacher, meta = (None, {}) if taught is None else load_policy(taught)
        seed_everything(self.seed)
        student = make_policy(self.student["name"], facts.groups, facts.action_size, **without_name(self.student))
        if not isinstance(student, ChunkPolicy):
            raise ValueError(
                f"student={self.student['name']} predicts no chunks of actions: choose diffusion or mlp_chunk"
            )
        parts = [read_dataset(path, student.reads) for path in folders]
        for path, part in zip(folders, parts, strict=True):
            _check_range(part, path)
        data = together(parts)
        sizes = {"horizon": student.horizon, "execute": student.execute}
        chunks = chunks_of(data.frames, data.action_FA, data.lengths_E, **sizes, held_out=self.held_out, seed=self.seed)
        task = {"name": folders[0].name, "control_hz": facts.fps, **facts.task}
        made_of = [_lineage(path, part) for path, part in zip(folders, parts, strict=True)]
        windows = {"train": chunks.train.size(), "held_out": chunks.held_out.size(), "said": chunks.said}
        lineage: dict[str, Any] = {"demos": made_of[0] if len(made_of) == 1 else made_of, "windows": windows}
        if taught is not None:
            lineage["teacher"] = {"policy": str(taught), "lineage": meta["lineage"]}
        judged = self.episodes and facts.task
        yield Lesson(
            student,
            teacher,
            chunks,
            run=f"runs/{self.student['name']}_{task['name']}",
            lineage=lineage,
            save=lambda model, run, lineage: save_policy(run / "policy", model, task=task, lineage=lineage),
            judge=lambda run: (
                judge(run / "policy", episodes=self.episodes, seed=0, quiet=self.quiet) if judged else None
            ),
            said=(chunks.said,),
        )


def demos_folder(path: str | Path) -> Path:
    """The dataset meant by `path`: itself, or `demos/` inside the run folder that it was recorded into."""
    path = Path(path)
    inside = path / "demos"
    return inside if not (path / "meta").is_dir() and (inside / "meta").is_dir() else path


def _check_range(data: Demonstrations, where: Path) -> None:
    largest = abs(data.action_FA).max(initial=0.0)
    if largest > 1.0 + 1e-6:
        raise ValueError(
            f"{where}: its actions reach {largest:.4g}, a policy here acts within [-1, 1]; scale them when recording"
        )


def _lineage(where: Path, data: Demonstrations) -> dict[str, Any]:
    return {"dataset": str(where), "episodes": len(data.lengths_E), "frames": len(data.action_FA)}
