"""Who teaches: the checks that every method makes of the teachers it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from embodkd.core.splits import Splits

Teachers = nn.Module | Mapping[str, nn.Module] | None
"""What a method's `recipe` takes as `teacher`: one model, several by name, or none."""

_SHOWN = 20


def one_teacher(teacher: Teachers, method: str, data: Splits | None = None) -> nn.Module:
    """The only teacher; ValueError if there is none or more than one, or if it knows other classes than `data` have."""
    found = teachers(teacher, method, data)
    if len(found) > 1:
        raise ValueError(f"method {method}: takes one teacher, got {len(found)}: {', '.join(found)}")
    return next(iter(found.values()))


def teachers(teacher: Teachers, method: str, data: Splits | None = None) -> dict[str, nn.Module]:
    """All teachers by name (a single one is called "teacher"); ValueError if there is none or one knows other classes.

    data: whose classes they must know, each at the same place of the logits; None for a method that does not ask for
    a teacher's classes. A teacher says by its attribute `classes` how many it knows, and by its `provenance` which.
    """
    found = by_name(teacher)
    if not found:
        raise ValueError(f"method {method}: needs a teacher, got none; give the arm a teacher or choose another method")
    if data is not None:
        for name, model in found.items():
            _check_classes(model, data, f"method {method}: teacher {name!r}")
    return found


def by_name(teacher: Teachers) -> dict[str, nn.Module]:
    """The teachers by name, none checked."""
    return {"teacher": teacher} if isinstance(teacher, nn.Module) else dict(teacher or {})


def _check_classes(model: nn.Module, data: Splits, where: str) -> None:
    provenance = getattr(model, "provenance", None)
    count, names = getattr(model, "classes", data.classes), provenance and provenance.classes
    if count != data.classes or (names and data.names and names != data.names):
        raise ValueError(
            f"{where} knows {_listed(count, names)}, the data have {_listed(data.classes, data.names)}; "
            "train it on these data, or give them its classes in its order"
        )


def _listed(count: int, names: Sequence[str] | None) -> str:
    """`"3 classes (0, 1, 7)"`."""
    if not names:
        return f"{count} classes"
    rest = ", ..." if len(names) > _SHOWN else ""
    return f"{count} classes ({', '.join(names[:_SHOWN])}{rest})"
