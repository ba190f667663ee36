"""From a YAML file to a Reproduction, with everything that can be known to be wrong found before anything is trained.

An arm or teacher overrides what stands at the top of the file: a mapping is merged key by key, except that one which
gives a `name` replaces the former as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypedDict

from embodkd.core.config.registry import near
from embodkd.core.config.schema import build, conform
from embodkd.core.runs.reading import read_yaml
from embodkd.evaluation.reproduce.spec import ROLES, Arm, Check, Config, Reproduction, Training


@dataclass(frozen=True)
class _File:
    """The keys of the file."""

    slug: str
    data: Config
    student: Config
    budget: Config
    arms: Config
    title: str = ""
    teachers: Config = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    metric: str = "accuracy"
    better: Literal["higher", "lower"] | None = None
    margin: float = 0.5
    trainer: Config = field(default_factory=dict)
    checks: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class _Teacher:
    """The keys of an entry of `teachers`; its own teachers stand above it."""

    model: Config
    method: Config | None
    budget: Config | None = None
    data: Config | None = None
    teachers: list[str] = field(default_factory=list)
    corrupt: Config | None = None


@dataclass(frozen=True)
class _Arm:
    """The keys of an arm. teachers: which ones (by default all, and none for student_alone), or overrides of some."""

    role: Literal["student_alone", "baseline", "ablation", "method"]
    method: Config
    student: Config | None = None
    teachers: list[str] | Config | None = None
    budget: Config | None = None
    data: Config | None = None


def read(file: str | Path, trainer: Config | None = None) -> Reproduction:
    """The table in `file`; `trainer` are settings of the Trainer that win over those of the file.

    ValueError that names the file, the place in it and the nearest right key for whatever is wrong.
    """
    from embodkd.evaluation.judges import better

    table = as_written(file, trainer)
    try:
        for training in _trainings(table):
            _check(training)
        return replace(table, better=table.better or better(table.metric))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def as_written(file: str | Path, trainer: Config | None = None) -> Reproduction:
    """`read`, but methods and budgets are not held against what there is, and a metric's own direction stays "".

    That needs no torch.
    """
    raw = build(_File, read_yaml(file), str(file))
    try:
        return _table(raw, {**raw.trainer, **(trainer or {})})
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def arms_of(table: Reproduction, arms: Sequence[str] | None) -> list[str]:
    """The names of the arms asked for, all for None; ValueError for one that the table lacks."""
    for name in arms or ():
        if name not in table.arms:
            raise ValueError(f"arms: {table.slug} has no arm {name!r}: {near(name, table.arms)}")
    return list(table.arms if arms is None else arms)


def merged(base: Any, over: Any) -> Any:
    """`over` on top of `base`: None changes nothing, a mapping with a `name` replaces, another one is merged."""
    if over is None:
        return base
    if not isinstance(base, Mapping) or not isinstance(over, Mapping) or "name" in over:
        return over
    # Within a mapping None is a value like any other.
    return {**base, **{key: value if value is None else merged(base.get(key), value) for key, value in over.items()}}


def _table(raw: _File, trainer: Config) -> Reproduction:
    teachers: dict[str, Training] = {}
    for name, entry in raw.teachers.items():
        teachers[name] = _teacher(raw, name, entry, teachers, trainer)
    arms = {name: _arm(raw, name, entry, teachers, trainer) for name, entry in raw.arms.items()}
    if not any(arm.role == "method" for arm in arms.values()):
        raise ValueError(f"arms: one needs role: method; the roles are {', '.join(ROLES)}")
    for name in [*arms, *teachers]:
        if "." in name or "/" in name or (name in arms and name in teachers):
            raise ValueError(f"{name!r}: arms and teachers need different names without dots or slashes")
    checks = tuple(build(Check, entry, f"checks[{k}]") for k, entry in enumerate(raw.checks))
    for check in checks:
        for name in check.names():
            _known(name, [*arms, *teachers], f"check {check.claim!r}")
    if len(set(raw.seeds)) != len(raw.seeds) or not raw.seeds or raw.margin <= 0:
        raise ValueError("seeds must be different and at least one, margin must be positive")
    better = raw.better or ""
    return Reproduction(
        raw.slug, raw.title, raw.metric, better, raw.margin, tuple(raw.seeds), raw.data, arms, teachers, checks
    )


def _teacher(
    raw: _File, name: str, entry: Config, above: Mapping[str, Training], trainer: Config, over: Config | None = None
) -> Training:
    own = build(_Teacher, entry, f"teachers.{name}")
    return Training(
        name,
        own.model,
        own.method,
        merged(raw.data, own.data),
        merged(raw.budget, own.budget),
        trainer,
        _chosen(own.teachers, above, f"teachers.{name}.teachers"),
        own.corrupt,
        teaches=True,
    )


def _arm(raw: _File, name: str, entry: Config, teachers: Mapping[str, Training], trainer: Config) -> Arm:
    own = build(_Arm, entry, f"arms.{name}")
    if isinstance(own.teachers, Mapping):
        given = dict(teachers)
        for key, over in own.teachers.items():
            changed = merged(raw.teachers.get(key), over)
            # Another teacher than the table's is trained under a name of its own.
            given[key] = _teacher(raw, f"{name}.{key}", changed, teachers, trainer)
    else:
        usual = [] if own.role == "student_alone" else list(teachers)
        given = _chosen(usual if own.teachers is None else own.teachers, teachers, f"arms.{name}.teachers")
    training = Training(
        name,
        merged(raw.student, own.student),
        own.method,
        merged(raw.data, own.data),
        merged(raw.budget, own.budget),
        trainer,
        given,
    )
    return Arm(own.role, training)


class _Named(TypedDict):
    name: str


def _trainings(table: Reproduction) -> Iterator[Training]:
    """All that are trained; a teacher comes before those whom it teaches, who may say its mistakes again."""
    for arm in table.arms.values():
        yield from arm.training.teachers.values()
    yield from table.teachers.values()
    yield from (arm.training for arm in table.arms.values())


def _check(training: Training) -> None:
    """ValueError if it cannot be built."""
    for key, choice in (("model", training.model), ("data", training.data)):
        conform(choice, _Named, f"{training.name}.{key}")
    training.build_method()
    training.build_budget()


def _chosen(names: Iterable[str], teachers: Mapping[str, Training], where: str) -> dict[str, Training]:
    for name in names:
        _known(name, teachers, where)
    return {name: teachers[name] for name in names}


def _known(name: str, choices: Iterable[str], where: str) -> None:
    if name not in choices:
        raise ValueError(f"{where}: there is no {name!r}: {near(name, choices)}")
