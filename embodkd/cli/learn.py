"""From data and teachers to a judged model: the one way of every `distill student` and of `train teacher data=...`.

What is learned from is of one of three kinds (a simulated task, stored demonstrations, a data set). Each has a file
beside this one, which opens it; all the rest is here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from embodkd.cli.common import threads_of, use_threads
from embodkd.cli.groups import Method, Trainer
from embodkd.cli.inputs import check_inputs
from embodkd.core.config.ranges import Seed, Threads
from embodkd.core.ranks import ranks

if TYPE_CHECKING:
    from torch import nn

    from embodkd.core import Budget, Step, Teachers
    from embodkd.evaluation import Evaluation


@dataclass
class Lesson:
    """Data that lie open, and what hangs on their kind.

    run: the folder where none was chosen; lineage: what the model is to remember besides method and seed; save(model,
    folder, lineage) keeps it, judge(run folder) measures it. check refuses a model that `save` could not keep. budget:
    None for the method's own; then: steps after the recipe's; said: lines that belong before and beside the training;
    digest, given: what the data are known by, and key -> folder of each teacher, so that a run does not go on with
    others.
    """

    student: nn.Module
    teachers: Teachers
    data: Any
    run: str
    lineage: Mapping[str, Any]
    save: Callable[[Any, Path, dict[str, Any]], object]
    judge: Callable[[Path], Evaluation | None]
    check: Callable[[nn.Module], object] = lambda model: None
    budget: Budget | None = None
    then: Sequence[Step] = ()
    said: Sequence[str] = field(default=())
    digest: str | None = None
    given: Mapping[str, str | Path | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Learn(ABC):
    """The keys that all kinds have; a subclass adds its own and opens its data."""

    run: str | None
    seed: Seed
    resume: bool
    trainer: Trainer
    torch_threads: Threads
    tracker: str | None
    quiet: bool
    method: Method

    needs: ClassVar[str]

    def kind(self) -> str:
        """What the method must be able to learn from, one of its `needs`."""
        return self.needs

    @abstractmethod
    def lesson(self) -> AbstractContextManager[Lesson]:
        """Open data and teachers and make the student from `seed`; ValueError for whatever does not fit together."""

    def __call__(self) -> int:
        """Train, keep and judge; the exit code. What can go wrong before a first update leaves no run folder behind."""
        from embodkd.core import RunFolder
        from embodkd.core import Trainer as TheTrainer
        from embodkd.core.config.schema import checked
        from embodkd.core.engine.length import endless_warmups
        from embodkd.methods import make_method

        use_threads(self.torch_threads)
        method = make_method(self.method, self.kind())
        words = checked(TheTrainer, self.trainer, "trainer", run=None, seed=self.seed, quiet=self.quiet)
        with self.lesson() as lesson:
            recipe = method.recipe(lesson.student, lesson.teachers, lesson.data, seed=self.seed, budget=lesson.budget)
            for step in lesson.then:
                recipe = recipe.then(step)
            lesson.check(recipe.product)
            run = self.run or lesson.run
            for line in (*lesson.said, *endless_warmups(recipe), *_whole(words["shard"])):
                print(f"{run}: {line}")
            with RunFolder.open(run, {**asdict(self), "run": run}, self.resume, self.tracker) as folder:
                ranks().first_does(lambda: check_inputs(folder.path, lesson.digest, lesson.given))
                trainer = TheTrainer(**{**words, "run": folder})
                threads_of(folder, self.torch_threads)
                summary = trainer.fit(recipe)
                model, lineage = recipe.product.cpu(), {"method": self.method, "seed": self.seed, **lesson.lineage}
                ranks().first_does(lambda: lesson.save(model, folder.path, lineage))
                # A run that was finished before measures nothing again.
                error = "".join(f", {k} {value:.4g}" for k, value in summary.last.items() if k.startswith("held_out/"))
                print(f"{run}: {summary.updates} updates in {summary.minutes:.1f} min{error}")
                judgement = lesson.judge(folder.path)
                if judgement is not None:
                    print(f"{run}: {judgement}")
                folder.finish(minutes=summary.minutes)
        return 0


def _whole(shard: str | None) -> Iterator[str]:
    if shard is not None and ranks().size == 1:
        yield f"trainer.shard={shard}: this is one process, and holds everything; torchrun starts several"
