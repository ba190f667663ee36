"""`embodkd compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embodkd.cli.common import WorldChoice, is_classifier, needed, policy_folder, use_threads
from embodkd.core.config.ranges import Copies, Episodes, EpisodeSeed, Share, Threads

if TYPE_CHECKING:
    from embodkd.evaluation import Evaluation


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

        use_threads(self.torch_threads)
        results = []
        for key, value in (("policy", self.policy), ("against", self.against)):
            path = Path(needed(value, key, "embodkd compare policy=runs/a against=runs/b"))
            results.append(self._judged(path))
            print(f"{path}: {results[-1]}")
        print(f"{self.policy} against {self.against}: {compare(results[0], results[1], self.margin)}")
        return 0

    def _judged(self, path: Path) -> Evaluation:
        from embodkd.cli.classifier import judge_model
        from embodkd.evaluation import Evaluation, evaluate
        from embodkd.policies import load_policy

        if path.suffix == ".json":
            return Evaluation.load(path)
        if is_classifier(path):
            return judge_model(path)
        folder = policy_folder(path)
        actor, meta = load_policy(folder)
        name, options = self.task_of(meta)
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
