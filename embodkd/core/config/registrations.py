"""What a file enters into registries, read off its text: the members of a folder can be listed without running any."""

from __future__ import annotations

import ast
from typing import Any, NamedTuple


class Registration(NamedTuple):
    """One `@REGISTRY.register("name", key=value)`, above a class or function of a file's top level."""

    registry: str
    name: str
    metadata: dict[str, Any]


def registrations(file: ast.Module) -> list[Registration]:
    """All of a file, in its order. Names and metadata that are computed when it runs are not seen."""
    parts = [node for node in file.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    found = [_registration(call) for part in parts for call in part.decorator_list]
    return [one for one in found if one is not None]


def _registration(call: ast.expr) -> Registration | None:
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr != "register":
        return None
    if not isinstance(call.func.value, ast.Name) or not call.args or not isinstance(call.args[0], ast.Constant):
        return None
    said = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg and _is_said(word.value)}
    return Registration(call.func.value.id, str(call.args[0].value), said)


def _is_said(value: ast.expr) -> bool:
    """Whether a value stands there: a constant, or a tuple of such."""
    return isinstance(value, ast.Constant) or isinstance(value, ast.Tuple) and all(map(_is_said, value.elts))
