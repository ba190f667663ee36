"""What a method is, and the checks that every one makes of the teachers it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import nn

from embodkd.core.recipe import Recipe
from embodkd.core.sources.dataset import DataSet
from embodkd.core.sources.kinds import KINDS

Teachers = Any | Mapping[str, Any] | None
"""Whom a method learns from: one model or policy, several by name, or nobody."""

NEEDS = ("task", "demonstrations", *KINDS)
"""What a method may need as `data`, the word `needs` of its registration: a batched task of a simulator; windows of
demonstrations, `train` and `held_out`; or a data set of a kind, `Splits`, `Texts`, ..."""

_SHOWN = 20


class Method(Protocol):
    """A dataclass of hyper-parameters, the schema of its config, that makes recipes."""

    def recipe(self, student: Any, teachers: Teachers, data: Any, *, seed: int = 0, budget: Any = None) -> Recipe:
        """What is to be done so that `student` learns from `teachers` on `data`, which is of the kind that it needs.

        All randomness derives from `seed`. budget: a `Budget`, how long and how fast. A method with a length of its
        own (rounds of a simulator) builds one from its keys; a budget that is given takes the place of that one.
        """
        ...


def one_teacher(teachers: Teachers, method: str, data: DataSet | None = None) -> Any:
    """The only teacher; ValueError if there is none or more than one, or if it knows other classes than `data` have."""
    found = several_teachers(teachers, method, data)
    if len(found) > 1:
        raise ValueError(f"method {method}: takes one teacher, got {len(found)}: {', '.join(found)}")
    return next(iter(found.values()))


def several_teachers(teachers: Teachers, method: str, data: DataSet | None = None) -> dict[str, Any]:
    """All teachers by name (a single one is called "teacher"); ValueError if there is none or one knows other classes.

    data: whose classes they must know, each at the same place of the logits; None for a method that does not ask for
    a teacher's classes. A teacher says by its attribute `classes` how many it knows, and by its `provenance` which.
    """
    found = by_name(teachers)
    if not found:
        raise ValueError(f"method {method}: needs a teacher, got none; give it one or choose another method")
    if data is not None:
        for name, model in found.items():
            _check_classes(model, data, f"method {method}: teacher {name!r}")
    return found


def no_teacher(teachers: Teachers, method: str) -> None:
    """ValueError if there is a teacher: a method that cannot ask it must not look as if it had."""
    if found := by_name(teachers):
        raise ValueError(f"method {method}: has no use for a teacher, got {', '.join(found)}; leave it out")


def by_name(teachers: Teachers) -> dict[str, Any]:
    """The teachers by name, none checked."""
    if isinstance(teachers, Mapping):
        return dict(teachers)
    return {} if teachers is None else {"teacher": teachers}


def _check_classes(model: nn.Module, data: DataSet, where: str) -> None:
    fact, provenance = data.counted, getattr(model, "provenance", None)
    if fact is not None:
        wanted = data.facts()[fact]
        count, names = getattr(model, fact, wanted), provenance and provenance.classes
        if count != wanted or (names and data.names and names != data.names):
            what = "classes" if fact == "classes" else "tokens"
            raise ValueError(
                f"{where} knows {_listed(count, names, what)}, the data have {_listed(wanted, data.names, what)}; "
                f"train it on these data, or give them its {what} in its order"
            )
    known = provenance and provenance.spelling
    if known and data.spelling is not None and known != data.spelling.to_json():
        raise ValueError(
            f"{where} reads texts by another tokenizer than that of the data, to which the same number is another "
            "token; train it on these data, or give the data its tokenizer"
        )


def _listed(count: int, names: Sequence[str] | None, what: str) -> str:
    """`"3 classes (0, 1, 7)"`."""
    if not names:
        return f"{count} {what}"
    rest = ", ..." if len(names) > _SHOWN else ""
    return f"{count} {what} ({', '.join(names[:_SHOWN])}{rest})"
