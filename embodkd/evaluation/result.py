"""An evaluation on disk and in memory: outcomes per episode, and everything needed to judge what they mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

from embodkd.core.config.ranges import Count, Share, Whole
from embodkd.core.runs.files import clear_os_error, write_json
from embodkd.core.runs.manifest import Manifest
from embodkd.core.runs.reading import read_json
from embodkd.evaluation.interval import wilson

_StoredEpisode = TypedDict(
    "_StoredEpisode", {"seed": int, "success": bool, "failure": str | None, "return": float, "steps": Whole}
)


class _Data(TypedDict):
    name: str
    seed: int


class _Protocol(TypedDict, total=False):
    task: str
    engine: str
    options: dict[str, Any]
    episodes: int
    seed: int | list[int]
    unit: str
    data: _Data
    part: str


class Judging(Manifest, total=False):
    """What is read of the manifest of a judgement."""

    reads: dict[str, Literal["privileged", "deployable"]]
    beware: list[str]
    renderer: str | None
    weights_sha256: str | None


class StoredRate(TypedDict):
    """What is read of a success rate in a file."""

    success_rate: Share
    successes: Whole
    episodes: Count
    ci95: tuple[Share, Share]
    failures: dict[str, Count]


class StoredEvaluation(StoredRate):
    """The contents of evaluation.json."""

    protocol: _Protocol
    manifest: Judging
    per_episode: list[_StoredEpisode]


@dataclass(frozen=True)
class Episode:
    """One episode: its seed, whether it succeeded, the named reason if not, undiscounted return, control steps."""

    seed: int
    success: bool
    failure: str | None
    total_reward: float
    steps: int


@dataclass(frozen=True)
class Evaluation:
    """Outcomes in the order of their seeds.

    ``protocol`` holds what must agree before two evaluations may be compared (task, engine, options, episodes, seed);
    ``manifest`` what should be known (versions, commit, policy folder and digest of its weights, command, minutes, and
    ``beware``: sentences without which the figure should not be read).
    """

    outcomes: tuple[Episode, ...]
    protocol: dict[str, Any]
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def episodes(self) -> int:
        """How many episodes were run."""
        return len(self.outcomes)

    @property
    def unit(self) -> str:
        """What one outcome is about: "episodes", or "items" of a data set."""
        return str(self.protocol.get("unit", "episodes"))

    @property
    def successes(self) -> int:
        """How many of them succeeded."""
        return sum(outcome.success for outcome in self.outcomes)

    @property
    def success_rate(self) -> float:
        """Successes over episodes."""
        return self.successes / self.episodes

    @property
    def ci95(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the success rate."""
        return wilson(self.successes, self.episodes)

    @property
    def failures(self) -> dict[str, int]:
        """How often each named failure ended an episode, the most frequent first."""
        names = Counter(outcome.failure or "unnamed" for outcome in self.outcomes if not outcome.success)
        return dict(sorted(names.items(), key=lambda item: (-item[1], item[0])))

    @property
    def beware(self) -> tuple[str, ...]:
        """What must be said beside the figure, such as that a teacher has seen what is judged here."""
        return tuple(self.manifest.get("beware", ()))

    def __str__(self) -> str:
        low, high = (100 * limit for limit in self.ci95)
        figure = f"{100 * self.success_rate:.1f} % of {self.episodes} {self.unit} (95 %: {low:.1f} to {high:.1f})"
        return f"{figure}; beware: {'; '.join(self.beware)}" if self.beware else figure

    def as_dict(self) -> dict[str, Any]:
        """The contents of evaluation.json."""
        return {
            "success_rate": self.success_rate,
            "successes": self.successes,
            "episodes": self.episodes,
            "ci95": list(self.ci95),
            "failures": self.failures,
            "protocol": self.protocol,
            "manifest": self.manifest,
            "per_episode": [
                {"seed": o.seed, "success": o.success, "failure": o.failure, "return": o.total_reward, "steps": o.steps}
                for o in self.outcomes
            ],
        }

    def save(self, path: str | Path) -> Path:
        """Write evaluation.json whole or not at all; a folder gets a file of that name inside."""
        return write_result(path, "evaluation.json", self.as_dict(), self)

    @classmethod
    def together(cls, parts: Sequence[Evaluation]) -> Evaluation:
        """Several seeds' as one, in the order given; ``ValueError`` if they differ in more than seed and episodes."""
        first = parts[0]
        if len(parts) == 1:
            return first
        protocols = [{k: v for k, v in one.protocol.items() if k not in ("seed", "episodes")} for one in parts]
        keys = sorted({key for protocol in protocols for key in protocol})
        apart = [key for key in keys if any(one.get(key) != protocols[0].get(key) for one in protocols)]
        if apart:
            raise ValueError(
                f"evaluations of several seeds differ in {', '.join(apart)}; run them alike, or remove one"
            )
        outcomes = tuple(outcome for one in parts for outcome in one.outcomes)
        protocol = first.protocol | {"seed": [one.protocol["seed"] for one in parts], "episodes": len(outcomes)}
        beware = list(dict.fromkeys(said for one in parts for said in one.beware))
        return cls(outcomes, protocol, first.manifest | {"beware": beware})

    @classmethod
    def of_run(cls, folder: Path) -> Evaluation | None:
        """All seeds' that lie in a run folder, together; None if there is none."""
        files = {file.stem.removeprefix("evaluation_seed_"): file for file in folder.glob("evaluation_seed_*.json")}
        named = {int(seed): file for seed, file in files.items() if seed.isdecimal()}
        if (folder / "evaluation.json").exists():
            named[0] = folder / "evaluation.json"
        return cls.together([cls.load(named[seed]) for seed in sorted(named)]) if named else None

    @classmethod
    def load(cls, path: str | Path) -> Evaluation:
        """Read what ``save`` wrote; ``ValueError`` if it is missing, damaged or its totals contradict its episodes."""
        path = Path(path)
        if path.is_dir():
            path = path / "evaluation.json"
        if not path.is_file():
            raise ValueError(f"{path}: no such evaluation; run `embodkd evaluate policy=... out={path}` first")
        stored = read_json(path, StoredEvaluation)
        evaluation = cls(tuple(map(_episode, stored["per_episode"])), stored["protocol"], stored["manifest"])
        if not evaluation.outcomes or evaluation.successes != stored["successes"]:
            raise ValueError(f"{path}: {stored['successes']} successes do not match its list of episodes; run it again")
        return evaluation


def write_result(path: str | Path, name: str, content: Mapping[str, Any], measured: object) -> Path:
    """Write `content` to `path`, a .json file, or a folder that gets a file `name`; returns the file.

    An OSError says in words what was `measured`: a full disk must not cost what took long to find out.
    """
    path = Path(path)
    if path.suffix != ".json":
        path = path / name
    try:
        with clear_os_error(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content)
    except OSError as error:
        error.add_note("what was measured: " + "; ".join(line.strip() for line in str(measured).splitlines()))
        raise
    return path


def _episode(stored: _StoredEpisode) -> Episode:
    return Episode(stored["seed"], stored["success"], stored["failure"], stored["return"], stored["steps"])
