"""`embodkd methods [show SLUG] [--json | --markdown]`."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from embodkd.cli.errors import Refused

_FORMS = ("--json", "--markdown")
_ARXIV = re.compile(r"^arXiv:(\d{4}\.\d{4,5})$")


def main(words: list[str]) -> int:
    """List the methods with what their stored tables say, or show one: its card, its hyper-parameters, its defaults."""
    forms = [word for word in words if word in _FORMS]
    rest = [word for word in words if word not in _FORMS]
    if rest and rest[0] != "show":
        raise Refused(f"methods: {rest[0]!r} is neither 'show SLUG' nor {' nor '.join(_FORMS)}")
    if len(rest) == 1 or len(rest) > 2:
        raise Refused("methods: show one method, for example: embodkd methods show dagger")
    if len(forms) > 1 or (rest and "--markdown" in forms):
        raise Refused("methods: --markdown is for the whole list, and --json another form of it")
    from embodkd.cli.reproduce import with_staleness
    from embodkd.evaluation.status import stored_systems, stored_tables
    from embodkd.methods import method_names

    tables = with_staleness(stored_tables())
    tell = _facts if rest or "--json" in forms else _row
    facts = [tell(name, tables) for name in ([rest[1]] if rest else method_names())]
    if "--json" in forms:
        print(json.dumps(facts[0] if rest else facts, indent=2, default=str))
    elif forms:
        print(markdown(facts, tables, stored_systems()))
    elif rest:
        print(_card(facts[0]))
    else:
        widths = [max(len(str(fact[key])) for fact in facts) for key in ("slug", "domain", "family")]
        for fact in facts:
            columns = (fact["slug"], fact["domain"], fact["family"])
            shown = "  ".join(f"{value:<{width}}" for value, width in zip(columns, widths, strict=True))
            print(f"{shown}  {fact['title']} ({fact['paper']}): {fact['status']}")
    return 0


def markdown(
    facts: Sequence[Mapping[str, Any]], tables: Sequence[Mapping[str, Any]], systems: Sequence[Mapping[str, Any]]
) -> str:
    """docs/methods.md: one row per method, then every stored table."""
    from embodkd.evaluation.reproduce.markdown import section

    lines = [
        "# Methods",
        "",
        "Made by `embodkd methods --markdown` from the method files and the stored tables in `results/`; a test holds",
        "that it is up to date. `embodkd methods show SLUG` prints a method's equation, details, deviations and keys;",
        "`embodkd reproduce TABLE` fills its table again. A table is *stale* if its file in `configs/reproduce/` says",
        "something else now than what filled it: its numbers are those of the former file.",
        "",
        "*Identities held*: the numeric facts that the method must satisfy are tests. *Gain*, *loss*, *no gain* and",
        "*undecided* are about the paired difference over seeds in the table's metric, at the table's small scale: its",
        "95 % interval lies above zero, below zero, within the table's margin around zero, or none of these. A claim",
        "about means holds, or fails, if the whole interval of its paired difference lies on one side.",
        "",
        "| method | domain | family | paper | title | table | status |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for fact in facts:
        table = f"`{fact['table']}`" if fact["table"] else "–"
        cells = (f"`{fact['slug']}`", fact["domain"], fact["family"], _linked(fact["paper"]), fact["title"], table)
        lines.append(f"| {' | '.join(cells)} | {fact['status']} |")
    for stored in tables:
        lines += ["", *section(stored, stored["stale"])]
    for system in systems:
        rows = [row for rows in system["tables"].values() for row in rows]
        stale = Counter(row["stale"] for row in rows if "stale" in row)
        said = [f"{count} of them stale ({reason})" for reason, count in stale.most_common()]
        lines += ["", f"## {system['slug']}", "", ", ".join([f"A whole system: {len(rows)} rows", *said]) + "."]
    return "\n".join(lines)


def _linked(paper: str) -> str:
    found = _ARXIV.match(paper)
    return f"[{paper}](https://arxiv.org/abs/{found[1]})" if found else paper


def _row(name: str, tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a list says of a method, which is not imported for that."""
    from embodkd.evaluation.status import status_of
    from embodkd.methods import method_facts

    said = method_facts(name)
    return {"slug": name, **said, **status_of(name, tables, said.get("card", name))}


def _facts(name: str, tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    from embodkd.methods import get_method

    method = get_method(name)
    keys = {f.name: None if f.default is dataclasses.MISSING else _plain(f.default) for f in dataclasses.fields(method)}
    return {**_row(name, tables), "keys": keys, "text": inspect.getdoc(inspect.getmodule(method)) or ""}


def _plain(value: Any) -> Any:
    return value.to_config() if hasattr(value, "to_config") else value


def _card(facts: dict[str, Any]) -> str:
    data = {"robot": "", "scenes": " data=rooms"}.get(facts["domain"], " data=digits")
    lines = [facts["text"], "", f"embodkd distill student method={facts['slug']}{data} teacher=...", "", "keys"]
    lines += [f"  method.{key}={value}" for key, value in facts["keys"].items()]
    return "\n".join([*lines, "", facts["status"]])
