"""Who teaches: the checks that every method makes of the teachers it is given."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

Teachers = nn.Module | Mapping[str, nn.Module] | None
"""What a method's `recipe` takes as `teacher`: one model, several by name, or none."""


def one_teacher(teacher: Teachers, method: str, classes: int | None = None) -> nn.Module:
    """The only teacher; ValueError if there is none or more than one, or if it knows other classes."""
    found = teachers(teacher, method, classes)
    if len(found) > 1:
        raise ValueError(f"method {method}: takes one teacher, got {len(found)}: {', '.join(found)}")
    return next(iter(found.values()))


def teachers(teacher: Teachers, method: str, classes: int | None = None) -> dict[str, nn.Module]:
    """All teachers by name (a single one is called "teacher"); ValueError if there is none or one knows other classes.

    classes: how many the data have; a teacher says by its attribute `classes` how many it knows.
    """
    found = {"teacher": teacher} if isinstance(teacher, nn.Module) else dict(teacher or {})
    if not found:
        raise ValueError(f"method {method}: needs a teacher, got none; give the arm a teacher or choose another method")
    for name, model in found.items():
        known = getattr(model, "classes", classes)
        if classes is not None and known != classes:
            raise ValueError(
                f"method {method}: teacher {name!r} knows {known} classes, the data have {classes}; "
                "train it on these data, or restrict it to their classes"
            )
    return found
