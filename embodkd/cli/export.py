"""`embodkd export`."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.cli.common import WorldChoice, is_classifier, model_folder, needed, policy_folder, run_folder
from embodkd.core.config.ranges import Judged, NotNegative

if TYPE_CHECKING:
    import numpy as np

    from embodkd.envs import BatchTask
    from embodkd.policies import Policy


@dataclass(frozen=True, kw_only=True)
class ExportTrained(WorldChoice):
    """Write a policy or a classifier as one file, and print how closely it acts like the original."""

    policy: str | None
    format: str
    out: str | None
    tolerance: NotNegative
    episodes: Judged

    def __call__(self) -> int:
        """The exit code."""
        where = needed(self.policy, "policy", "embodkd export policy=runs/depth_cnn_peg_hole")
        if self.out is not None and Path(self.out).is_dir():
            raise ValueError(f"out={self.out} is a folder: name the file that is to be written")
        print(self._classifier(where) if is_classifier(where) else self._policy(where))
        return 0

    def _policy(self, where: str) -> Any:
        from embodkd.envs import make_task
        from embodkd.envs.seeds import EXAMPLE
        from embodkd.evaluation.export import export_policy
        from embodkd.policies import check_task, load_policy
        from embodkd.policies.artefact import read_episode
        from embodkd.policies.fit import transferred

        folder = policy_folder(where)
        policy, meta = load_policy(folder)
        carried = read_episode(folder, policy)
        recorded = [] if carried is None else [carried]
        with ExitStack() as opened:
            task, apart = None, tuple[str, ...]()
            if self.task or meta["task"].get("engine"):
                name, options = self.task_of(meta)
                task = opened.enter_context(closing(make_task(name, max(1, self.episodes), **options)))
                apart = check_task(policy, meta, task.spec, f"policy={where}", self.transfer)
                recorded.append(_seen(policy, task, EXAMPLE + 1))
            exported = export_policy(
                policy,
                meta,
                self._path(run_folder(folder) / "policy"),
                self.format,
                self.tolerance,
                recorded=recorded,
                task=task,
                episodes=self.episodes,
            )
        return f"{exported}; beware: {transferred(apart)}" if apart else exported

    def _classifier(self, where: str) -> Any:
        from embodkd.data import make_data
        from embodkd.evaluation.export import export_model
        from embodkd.models import load_model
        from embodkd.models.artefact import EXAMPLES, read_inputs

        if self.task or self.engine or self.randomise or self.transfer:
            raise ValueError(f"{where} is a classifier: task, engine, randomise and transfer are for policies")
        folder = model_folder(where)
        model, config = load_model(folder)
        if model.reads != "input" or "vocabulary" in config:
            more = f"; transformers loads {folder / 'hf'}" if (folder / "hf").is_dir() else ""
            raise ValueError(f"{where} reads texts, and only models of pictures are exported as one file{more}")
        beside = folder.parent if folder.name == "model" else folder
        path, examples = self._path(beside / "model"), read_inputs(folder, model)
        if examples is None:
            data = needed(config["lineage"].get("data"), f"{folder}: lineage.data", "a folder that save_model wrote")
            examples = make_data(**data).test.fields["input"][:EXAMPLES].float().numpy()
        return export_model(model, config, path, self.format, self.tolerance, examples=examples)

    def _path(self, stem: Path) -> Path:
        from embodkd.evaluation.export import FORMATS

        return Path(self.out) if self.out is not None else stem.with_name(stem.name + FORMATS.get(self.format, ""))


def _seen(policy: Policy, task: BatchTask, seed: int) -> dict[str, np.ndarray]:
    from embodkd.envs.episodes import seen_in
    from embodkd.policies import session_of

    return seen_in(task, session_of(policy, task.num_envs), policy.reads, seed)
