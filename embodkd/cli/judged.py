"""What `embodkd compare` takes for a side: a stored evaluation, a classifier, or a policy, judged where it must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.cli.common import (
    WorldChoice,
    changed,
    classifier_file,
    is_classifier,
    model_folder,
    policy_folder,
    run_folder,
)
from embodkd.core.runs.reading import read_json

if TYPE_CHECKING:
    from embodkd.evaluation import Evaluation


@dataclass(frozen=True)
class Judged:
    """One run as it is judged: what is stored of it, seed of its episodes -> evaluation; how it is judged anew, by
    seed and episodes (None: it is a file). training_seed: what it was trained with, where a study says so."""

    path: Path
    stored: Mapping[int | None, Evaluation] = field(default_factory=dict)
    judge: Callable[..., Evaluation] | None = None
    training_seed: int | None = None

    def on(self, seed: int, episodes: int) -> Evaluation:
        """Its evaluation on these episodes, stored or new; a file's is what it is."""
        known = self.stored.get(seed)
        if self.judge is None:
            return self.stored[None]
        return known if known is not None and known.episodes == episodes else self.judge(seed=seed, episodes=episodes)


def opened(where: str, path: Path, chosen: WorldChoice, copies: int, seeds: list[int], quiet: bool) -> Judged:
    """What lies at `path`, read and held against its world now: nothing is judged before all is known to fit.

    where: what names it on the command line, for what is wrong with it.
    """
    from embodkd.evaluation import Evaluation

    if path.suffix == ".json":
        return Judged(path, {None: Evaluation.load(path)})
    if is_classifier(path):
        return _classifier(path)
    from embodkd.cli.evaluate import file_name
    from embodkd.envs import make_task
    from embodkd.evaluation import evaluate
    from embodkd.evaluation.comparison import differing
    from embodkd.evaluation.judge import protocol_of
    from embodkd.policies import check_task, load_policy

    folder = policy_folder(path)
    actor, meta = load_policy(folder)
    name, options = chosen.task_of(meta)
    with closing(make_task(name, 1, **options)) as world:
        check_task(actor, meta, world.spec, where, chosen.transfer)
        spec = world.spec
    files = {seed: run_folder(folder) / file_name("evaluation", changed(meta, name, options), seed) for seed in seeds}
    found = {seed: stored_of(folder, file) for seed, file in files.items()}
    stored: dict[int | None, Evaluation] = {
        s: e for s, e in found.items() if e and not differing(e.protocol, protocol_of(spec, e.episodes, s))
    }

    judge = partial(
        evaluate,
        actor,
        name,
        options,
        copies=copies,
        policy_folder=folder,
        transfer=chosen.transfer,
        quiet=quiet,
    )
    return Judged(path, stored, judge)


def _classifier(path: Path) -> Judged:
    from embodkd.cli.classifier import judge_model

    folder = model_folder(path)
    stored = stored_of(folder, classifier_file(path))
    data = read_json(folder / "config.json", dict[str, Any])["lineage"].get("data")
    if stored is not None and (stored.protocol.get("data"), stored.protocol.get("part")) == (data, "test"):
        return Judged(path, {None: stored})
    return Judged(path, {}, lambda seed, episodes: judge_model(path))


def stored_of(folder: Path, file: Path) -> Evaluation | None:
    """The evaluation in `file` of what lies in `folder`, None if there is none, or it is of other weights."""
    from embodkd.evaluation import Evaluation
    from embodkd.evaluation.manifest import digest_of_weights

    if not file.is_file():
        return None
    stored = Evaluation.load(file)
    return stored if stored.manifest.get("weights_sha256") == digest_of_weights(folder) else None
