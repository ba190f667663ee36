"""What a reproduction table is: arms, teachers, seeds and claims, as `read` gives them from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from embodkd.core import Budget

Config = Mapping[str, Any]
ROLES = ("student_alone", "baseline", "ablation", "method")


@dataclass(frozen=True)
class Training:
    """One model to train: what an arm and a teacher have in common.

    model, data: name and keywords of `make_model` and `make_data`; method: name and hyper-parameters, None for a model
    that is taken as it is built (pretrained weights); budget: fields of `Budget`; trainer: of `Trainer`; teachers: whom
    it learns from, by the names that the method sees; corrupt: keywords of `Corrupted`, for one that teaches.
    """

    name: str
    model: Config
    method: Config | None
    data: Config
    budget: Config
    trainer: Config = field(default_factory=dict)
    teachers: Mapping[str, Training] = field(default_factory=dict)
    corrupt: Config | None = None
    teaches: bool = False

    def config(self) -> dict[str, Any]:
        """All that its result depends on, besides the seed and the code, as plain data."""
        return asdict(self)

    def build_method(self) -> Any:
        """The method with these hyper-parameters, None if it is taken as it is built."""
        from embodkd.data import kind_of
        from embodkd.methods import make_method

        return (
            None if self.method is None else make_method(self.method, kind_of(self.data["name"]), f"{self.name}.method")
        )

    def build_budget(self) -> Budget:
        """Its training budget."""
        from embodkd.core import Budget

        return Budget.of(self.budget, f"{self.name}.budget")


@dataclass(frozen=True)
class Arm:
    """A training and its part in the comparison, one of ROLES."""

    role: str
    training: Training


@dataclass(frozen=True)
class Check:
    """A claim about measured numbers: `left` lies strictly below, or above, `factor` * right + `margin`.

    left and the right side are ARM.MEASURE (or TEACHER.MEASURE); the right one may be a number. over: the mean over the
    seeds, where the whole 95 % interval of the paired difference must lie on that side, or the values of every seed.
    """

    claim: str
    left: str
    below: float | str | None = None
    above: float | str | None = None
    factor: float = 1.0
    margin: float = 0.0
    over: Literal["mean", "every_seed"] = "mean"

    def __post_init__(self) -> None:
        if (self.below is None) == (self.above is None):
            raise ValueError(f"check {self.claim!r}: give either below or above")

    def names(self) -> list[str]:
        """The arms and teachers that it is about."""
        return [side.partition(".")[0] for side in (self.left, self.right) if isinstance(side, str)]

    @property
    def right(self) -> float | str:
        """What `left` is compared with."""
        side = self.below if self.above is None else self.above
        assert side is not None
        return side


@dataclass(frozen=True)
class Reproduction:
    """A reproduction. margin: a difference of `metric` that nobody would care about; better: "higher" or "lower", or ""
    as long as nobody has asked the metric."""

    slug: str
    title: str
    metric: str
    better: str
    margin: float
    seeds: tuple[int, ...]
    data: Config
    arms: Mapping[str, Arm]
    teachers: Mapping[str, Training]
    checks: tuple[Check, ...]

    def methods(self) -> tuple[str, ...]:
        """The arms whose role is "method"."""
        return tuple(name for name, arm in self.arms.items() if arm.role == "method")

    def config(self) -> dict[str, Any]:
        """All that the table says, resolved, as plain data: what a stored result of it must have come from.

        A teacher of the table stands in an arm by its name, one that an arm has for itself as a whole.
        """

        def plain(training: Training) -> dict[str, Any]:
            found = training.config()
            found["teachers"] = {
                key: other.name if self.teachers.get(other.name) is other else plain(other)
                for key, other in training.teachers.items()
            }
            return {key: value for key, value in found.items() if key not in ("name", "teaches")}

        return {
            "seeds": list(self.seeds),
            "metric": self.metric,
            "better": self.better,
            "margin": self.margin,
            "teachers": {name: plain(teacher) for name, teacher in self.teachers.items()},
            "arms": {name: {"role": arm.role, **plain(arm.training)} for name, arm in self.arms.items()},
            "checks": [asdict(check) for check in self.checks],
        }
