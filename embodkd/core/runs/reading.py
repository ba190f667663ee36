"""The one reader of files that somebody else may have written, cut or changed: text, JSON, lines of JSON, YAML.

Whatever is wrong with a file is one ValueError that names the file, in it the field, and how to mend it. Nothing is
taken for granted that is not asked for by a `form`: a type as `core.config.schema.conform` knows them, most often a
TypedDict of what the file holds.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from embodkd.core.config.schema import conform

MEND = "restore it or write it anew"
_DEEPEST, _MOST, _DIGITS = 64, 10**6, 40


def check_file(path: Path) -> None:
    """ValueError if there is no file of that name, or something else has it: to open a pipe, one waits for ever."""
    if not path.is_file():
        what = "is no file" if os.path.lexists(path) else "no such file"
        raise ValueError(f"{path}: {what}; {MEND}")


def read_bytes(path: str | Path) -> bytes:
    """The content of a file."""
    path = Path(path)
    try:
        check_file(path)
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); {MEND}") from error


def read_text(path: str | Path) -> str:
    """The content of a text file in UTF-8, with or without a mark of it in front; its lines end in one character."""
    try:
        return io.StringIO(read_bytes(path).decode("utf-8-sig"), newline=None).read()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no text in UTF-8 (byte {error.start}); {MEND}") from error


def read_json(path: str | Path, form: Any = Any) -> Any:
    """The content of a JSON file, as `form` wants it."""
    return json_of(read_text(path), path, form)


def json_of(text: str, where: str | Path, form: Any = Any, mend: str = MEND) -> Any:
    """What a text that came from `where` says in JSON, as `form` wants it."""
    return _fitted(where, _parsed(where, "JSON", _json, text, mend), form, mend)


def read_lines(path: str | Path, form: Any = dict[str, Any]) -> list[Any]:
    """What a file says in JSON, each line as `form` wants it; [] if there is none.

    A last line that is broken off is left out: a run that still goes on, or was killed, may have written half of it.
    """
    if not os.path.lexists(path):
        return []
    *lines, last = read_text(path).split("\n")
    rows = []
    for number, line in enumerate(lines, 1):
        rows.append(json_of(line, f"{path}, line {number}", form, "remove it"))
    try:
        return [*rows, conform(_json(last), form, "")]
    except (ValueError, RecursionError):
        return rows


def read_yaml(path: str | Path, form: Any = dict[str, Any]) -> Any:
    """The content of a YAML file of plain values, as `form` wants it; an empty one says {}."""
    return yaml_of(read_text(path), path, form)


def yaml_of(text: str, where: str | Path, form: Any = dict[str, Any]) -> Any:
    """What a text that came from `where` says in YAML, as `form` wants it; an empty one says {}."""
    said = _parsed(where, "YAML", lambda text: yaml.load(text, _Loader), text)
    return _fitted(where, {} if said is None else said, form)


@contextmanager
def blamed(where: str | Path, mend: str = MEND) -> Iterator[None]:
    """A ValueError inside is about what this file says: it names the file, too."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {str(error).removeprefix(': ')}; {mend}") from error


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # libyaml's takes a tenth of the time
    """Plain values only, and no key twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """As PyYAML does, after a look at the keys."""
        if isinstance(node, yaml.MappingNode):
            _once([(key.value, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)])
        return super().construct_mapping(node, deep)


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once, parse_int=_whole)


def _parsed(where: str | Path, language: str, parse: Callable[[str], Any], text: str, mend: str = MEND) -> Any:
    try:
        content = parse(text)
    except Exception as error:  # PyYAML has an error of any class for a tag whose value is none of its kind
        said = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise ValueError(f"{where}: not valid {language} ({said:.200}); {mend}") from error
    layer = [content] if isinstance(content, (dict, list)) else []
    for _ in range(_DEEPEST):
        inside = (inner for value in layer for inner in (value.values() if isinstance(value, dict) else value))
        layer = list(islice((inner for inner in inside if isinstance(inner, (dict, list))), _MOST))
        if not layer:
            return content
        if len(layer) == _MOST:
            break
    raise ValueError(f"{where}: not valid {language} (nested too deeply, or far too much); {mend}")


class _Wrong(ValueError):
    """What JSON and YAML allow, and no file of ours holds."""


def _once(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Wrong(f"{key!r:.60} is there twice")
        found[key] = value
    return found


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise _Wrong(f"{digits[:12]}... is too large a number")
    return int(digits)


def _fitted(where: str | Path, content: Any, form: Any, mend: str = MEND) -> Any:
    with blamed(where, mend):
        return conform(content, form, "")
