"""Texts on the command line, taken as they are written: a path may hold whatever a file system allows.

Hydra reads values by a grammar of its own, in which `lr=0.1`, `x(1)` or `a,b` mean something else or nothing.
"""

from __future__ import annotations

import re

# What Hydra may be told to run through with -m instead of a list.
_SWEEPS = re.compile(r"(choice|range|interval|glob|shuffle|sort|tag|extend_list)\(.*\)$", re.DOTALL)
_QUOTES = "\"'"


def value(text: str, several: bool, multirun: bool) -> str:
    """`text` such that Hydra gives it back as it is; `null` stays null, and `${key}` the value of that key.

    several: `[a,b]` and `{name: a}` are lists and mappings of texts. multirun: commas separate the runs, unless they
    stand in quotes.
    """
    if multirun and not _SWEEPS.match(text):
        pieces = split(text)
        if len(pieces) > 1:
            return ",".join(_entry(piece) if not several else value(piece.strip(), several, False) for piece in pieces)
        if _is_quoted(text):
            return text
    if text in ("", "null") or (multirun and _SWEEPS.match(text)):
        return text
    if several and text[0] + text[-1] == "[]":
        return f"[{','.join(map(_entry, split(text[1:-1])))}]"
    if several and text[0] + text[-1] == "{}":
        named = (piece.partition(":") for piece in split(text[1:-1]))
        return "{" + ",".join(f"{name.strip()}:{_entry(entry)}" for name, _, entry in named) + "}"
    return quoted(text)


def quoted(text: str) -> str:
    """`text` in single quotes, which it may itself hold."""
    # backslashes mean something to Hydra only where a quote follows
    escaped = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), text)
    return f"'{escaped}'"


def unquoted(text: str) -> str | None:
    """What `quoted` was given; None for anything that it does not give."""
    inner = re.sub(r"(\\+)('|$)", lambda match: match[1][: len(match[1]) // 2] + match[2], text[1:-1])
    return inner if text == quoted(inner) else None


def split(text: str) -> list[str]:
    """The pieces of `text` between commas that stand in no quotes and no brackets; [] for an empty one."""
    pieces, start, depth, quote = [], 0, 0, ""
    for k, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and text[k - 1] != "\\" else quote
        elif letter in _QUOTES and not text[start:k].strip(" [{:"):
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and depth == 0:
            pieces.append(text[start:k])
            start = k + 1
    return [*pieces, text[start:]] if text.strip() else []


def _entry(piece: str) -> str:
    piece = piece.strip()
    return piece if _is_quoted(piece) or piece == "null" else quoted(piece)


def _is_quoted(piece: str) -> bool:
    return len(piece) > 1 and piece[0] == piece[-1] and piece[0] in _QUOTES
