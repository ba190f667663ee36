"""The mark of a stored result: all that it depends on, so that one of another origin is not taken for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from embodkd.core.runs.manifest import versions

# The packages that can move a number.
_PACKAGES = ("torch", "numpy", "accelerate", "mujoco", "gymnasium", "stable-baselines3")
Mark = Mapping[str, Any]
"""What `mark` gives: plain data with the keys config, versions, sources, after and digest."""


def mark(config: Mapping[str, Any], sources: str, after: Mapping[str, Mark] | None = None) -> Mark:
    """The mark of what ran with `config` (resolved, its seed included) on `sources` (a digest) after other results.

    `after` gives the marks of what it builds on, by name; of these the digests are kept, so a mark stands for the whole
    chain.
    """
    installed = versions()
    facts = {
        "config": _plain(config),
        "versions": {name: installed[name] for name in _PACKAGES},
        "sources": sources,
        "after": {name: other["digest"] for name, other in (after or {}).items()},
    }
    text = json.dumps(facts, sort_keys=True)
    return {**facts, "digest": hashlib.sha256(text.encode()).hexdigest()[:32]}


def staleness(stored: Mark, now: Mark) -> str | None:
    """In which way a result with the mark `stored` is of another origin than one would be `now`; None if it is not."""
    if stored["digest"] == now["digest"]:
        return None
    if changed := changes(stored["config"], now["config"]):
        return f"another config: {'; '.join(changed[:3])}{' ...' if len(changed) > 3 else ''}"
    if stored["versions"] != now["versions"]:
        return f"other versions: {'; '.join(changes(stored['versions'], now['versions']))}"
    if stored["sources"] != now["sources"]:
        return "other sources"
    return f"what it comes after changed: {', '.join(changes(stored['after'], now['after'], values=False))}"


def changes(one: Any, other: Any, place: str = "", *, values: bool = True) -> list[str]:
    """Where two configs differ, in words: "method.rounds: 2, now 3". A key that is null is as good as none."""
    one, other = _plain(one), _plain(other)
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [*one, *(key for key in other if key not in one)]
        found = []
        for key in keys:
            inner = f"{place}.{key}" if place else str(key)
            absent = key not in one, key not in other
            if one.get(key) is None and other.get(key) is None:
                continue
            if any(absent):
                found.append(f"{inner}: {'new' if absent[0] else 'gone'}" if values else inner)
            else:
                found += changes(one[key], other[key], inner, values=values)
        return found
    if one == other:
        return []
    return [f"{place}: {json.dumps(one)}, now {json.dumps(other)}" if values else place]


def _plain(value: Any) -> Any:
    """As JSON gives it back: lists for tuples, words for keys."""
    return json.loads(json.dumps(value))
