"""`embodkd rollout`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embodkd.cli.common import WorldChoice, needed, policy_folder, run_folder
from embodkd.core.config.ranges import Episodes, Seed


@dataclass(frozen=True, kw_only=True)
class FilmPolicies(WorldChoice):
    """Film one policy, or two side by side on the same episodes."""

    policy: str | None
    beside: str | None
    episodes: Episodes
    seed: Seed
    out: str | None
    camera: str

    def __call__(self) -> int:
        """The exit code."""
        folder = policy_folder(needed(self.policy, "policy", "embodkd rollout policy=runs/depth_cnn_peg_hole"))

        from embodkd.envs import make_task
        from embodkd.evaluation.film import film
        from embodkd.policies import check_task, load_policy
        from embodkd.policies.fit import transferred

        actor, meta = load_policy(folder)
        name, options = self.task_of(meta)
        own = run_folder(folder).resolve()
        cast = {own.name: (actor, meta, f"policy={folder}")}
        if self.beside is not None:
            other = policy_folder(self.beside)
            others = run_folder(other).resolve()
            if others == own:
                raise ValueError(f"beside={self.beside} is the same run as policy={self.policy}; name another one")
            mine, label = _apart(own, others)
            cast = {label: (*load_policy(other), f"beside={other}"), mine: cast[own.name]}
        world = make_task(name, len(cast), **options)
        try:
            apart = {
                label: check_task(who, record, world.spec, where, self.transfer)
                for label, (who, record, where) in cast.items()
            }
            actors = {label: who for label, (who, *_) in cast.items()}
            target = Path(self.out) if self.out is not None else run_folder(folder) / "videos"
            made = film(actors, world, episodes=self.episodes, seed=self.seed, out=target, camera=self.camera)
        finally:
            world.close()
        for label in actors:
            beware = f"; beware: {transferred(apart[label])}" if apart[label] else ""
            print(f"{label}: {sum(s[label] for s in made.successes)} of {self.episodes} episodes succeeded{beware}")
        print(f"{made.path} ({made.frames} frames, {made.codec})")
        return 0


def _apart(one: Path, other: Path) -> tuple[str, str]:
    """The shortest ends of two different paths that tell them apart, such as student/0 and teacher/0."""
    for count in range(1, max(len(one.parts), len(other.parts))):
        ends = tuple("/".join(path.parts[-count:]) for path in (one, other))
        if ends[0] != ends[1]:
            return ends[0], ends[1]
    return str(one), str(other)
