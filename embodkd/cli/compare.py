"""`embodkd compare`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.cli.common import WorldChoice, is_classifier, needed, policy_folder, use_threads
from embodkd.core.config.ranges import Copies, Episodes, EpisodeSeed, Share, Threads

if TYPE_CHECKING:
    from embodkd.evaluation import Evaluation
    from embodkd.policies import Policy


@dataclass(frozen=True, kw_only=True)
class ComparePolicies(WorldChoice):
    """Run both on the same episodes, of one seed or several (a stored evaluation.json is taken as it is) and print the
    verdict."""

    policy: str | None
    against: str | None
    margin: Share
    episodes: Episodes
    seed: EpisodeSeed | list[EpisodeSeed]
    copies: Copies
    torch_threads: Threads
    quiet: bool

    def __call__(self) -> int:
        """The exit code."""
        from embodkd.evaluation import compare

        if not isinstance(self.seed, int) and len(set(self.seed)) < max(1, len(self.seed)):
            raise ValueError(f"seed: {self.seed} are not different seeds: an episode counts once")
        opened = []
        for key, value in (("policy", self.policy), ("against", self.against)):
            path = Path(needed(value, key, "embodkd compare policy=runs/a against=runs/b"))
            opened.append((path, self._opened(key, path)))
        results = []
        for path, judged in opened:
            results.append(judged())
            print(f"{path}: {results[-1]}")
        print(f"{self.policy} against {self.against}: {compare(results[0], results[1], self.margin)}")
        return 0

    def _opened(self, key: str, path: Path) -> Callable[[], Evaluation]:
        """What gives the evaluation of what lies there, which is read, and held against its world, now."""
        from embodkd.evaluation import Evaluation

        if path.suffix == ".json":
            stored = Evaluation.load(path)
            return lambda: stored
        use_threads(self.torch_threads)
        if is_classifier(path):
            from embodkd.cli.classifier import judge_model

            return partial(judge_model, path)
        from embodkd.envs import make_task
        from embodkd.policies import check_task, load_policy

        folder = policy_folder(path)
        actor, meta = load_policy(folder)
        name, options = self.task_of(meta)
        with closing(make_task(name, 1, **options)) as world:
            check_task(actor, meta, world.spec, f"{key}={path}", self.transfer)
        return partial(self._judged, folder, actor, name, options)

    def _judged(self, folder: Path, actor: Policy, name: str, options: Mapping[str, Any]) -> Evaluation:
        from embodkd.evaluation import Evaluation, evaluate

        judged = [
            evaluate(
                actor,
                name,
                options,
                episodes=self.episodes,
                seed=seed,
                copies=self.copies,
                policy_folder=folder,
                transfer=self.transfer,
                quiet=self.quiet,
            )
            for seed in ([self.seed] if isinstance(self.seed, int) else self.seed)
        ]
        return Evaluation.together(judged)
