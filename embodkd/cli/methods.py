"""`embodkd methods [show SLUG] [--json]`."""

from __future__ import annotations

import dataclasses
import inspect
import json
from typing import Any

from embodkd.cli.errors import Refused


def main(words: list[str]) -> int:
    """List the methods, or show one: its card, its hyper-parameters and their defaults."""
    as_json = "--json" in words
    rest = [word for word in words if word != "--json"]
    if rest and rest[0] != "show":
        raise Refused(f"methods: {rest[0]!r} is neither 'show SLUG' nor --json")
    if len(rest) == 1 or len(rest) > 2:
        raise Refused("methods: show one method, for example: embodkd methods show dagger")
    from embodkd.methods import method_names

    facts = [_facts(name) for name in ([rest[1]] if rest else method_names())]
    if as_json:
        print(json.dumps(facts[0] if rest else facts, indent=2, default=str))
    elif rest:
        print(_card(facts[0]))
    else:
        width = max(len(f["slug"]) for f in facts)
        for fact in facts:
            print(f"{fact['slug']:<{width}}  {fact['domain']:<8}  {fact['title']}  ({fact['paper']})")
    return 0


def _facts(name: str) -> dict[str, Any]:
    from embodkd.methods import METHODS, get_method

    method = get_method(name)
    module = inspect.getmodule(method)
    keys = {f.name: None if f.default is dataclasses.MISSING else _plain(f.default) for f in dataclasses.fields(method)}
    return {"slug": name, **METHODS.metadata(name), "keys": keys, "text": inspect.getdoc(module) or ""}


def _plain(value: Any) -> Any:
    return value.to_config() if hasattr(value, "to_config") else value


def _card(facts: dict[str, Any]) -> str:
    lines = [facts["text"], "", f"embodkd distill student method={facts['slug']} teacher=...", "", "keys"]
    lines += [f"  method.{key}={value}" for key, value in facts["keys"].items()]
    return "\n".join(lines)
