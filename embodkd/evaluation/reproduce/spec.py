"""What a reproduction table is: arms, teachers, seeds and claims, as `read` gives them from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from embodkd.core import Budget, Optimiser
from embodkd.core.config.schema import build, parameters
from embodkd.methods import METHODS, get_method

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
        return None if self.method is None else method_of(self.method, f"{self.name}.method")

    def build_budget(self) -> Budget:
        """Its training budget."""
        return budget_of(self.budget, f"{self.name}.budget")


def method_of(config: Config, where: str) -> Any:
    """The method that {name: ..., hyper-parameter: ...} means; ValueError with the nearest right key otherwise."""
    if "name" not in config:
        raise ValueError(f"{where}: lacks its name, such as {{name: kd}}")
    name, options = config["name"], {k: v for k, v in config.items() if k != "name"}
    kind = get_method(name)
    if "budget" not in parameters(kind.recipe):
        raise ValueError(f"{where}: {name!r} is of domain {METHODS.metadata(name)['domain']}: it trains no classifier")
    return build(kind, options, where)


def budget_of(config: Config, where: str) -> Budget:
    """The budget that {epochs: ..., optimiser: {name: ...}} means; ValueError with the nearest right key otherwise."""
    optimiser = build(Optimiser, config.get("optimiser"), f"{where}.optimiser")
    return build(Budget, {k: v for k, v in config.items() if k != "optimiser"}, where, optimiser=optimiser)


@dataclass(frozen=True)
class Arm:
    """A training and its part in the comparison, one of ROLES."""

    role: str
    training: Training


@dataclass(frozen=True)
class Check:
    """A claim about measured numbers: `left` lies strictly below, or above, `factor` * right + `margin`.

    left and the right side are ARM.MEASURE (or TEACHER.MEASURE); the right one may be a number. over: the means over
    the seeds, or the values of every seed.
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
class Table:
    """A reproduction. margin: a difference of `metric` that nobody would care about; better: "higher" or "lower"."""

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
