"""Help texts, built from the table of verbs and from the comments in the configs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embodkd.cli.keys import Config, comments, folder, options
from embodkd.cli.verbs import VERBS, Verb, other_forms

_WIDTH = 28


def overview() -> str:
    """What `embodkd --help` says."""
    lines = ["embodkd <verb> [<noun>] [key=value ...]", ""]
    lines += [f"  {v.shown:<{_WIDTH - 2}}{v.summary}" for v in VERBS]
    lines += [
        "",
        "embodkd <verb> --help     keys, choices and defaults of a verb",
        "embodkd --version",
        "",
        "Values are set as key=value, for example task=peg_hole task.randomness=high; -m runs every combination of",
        "comma-separated values (seed=0,1,2); --config-dir FOLDER adds your own YAML files.",
        "torchrun --nproc_per_node 2 -m embodkd.cli <verb> ... runs a verb on two processes, as its --help says.",
    ]
    return "\n".join(lines)


def of_prefix(word: str) -> str:
    """What `embodkd train --help` says: the nouns that follow."""
    lines = [f"embodkd {v.shown}: {v.summary}" for v in VERBS if v.words[0] == word]
    return "\n".join(lines)


def of_verb(verb: Verb, words: list[str]) -> str:
    """Keys, choices and defaults of a verb, under the choices made in `words` (`student=pointnet`)."""
    lines = [f"embodkd {verb.shown} [key=value ...]", f"  {verb.summary}"]
    for other in other_forms(verb):
        key = f" {other.given}={'|'.join(options(other.given)) or '...'}" if other.given else ""
        lines += ["", f"embodkd {other.title} --help{key}", f"  {other.summary}"]
    lines += ["", "examples", *(f"  {example}" for example in verb.examples)]
    lines += ["", f"on several processes (torchrun --nproc_per_node 2 -m embodkd.cli ...)\n  {verb.several}"]
    if verb.config is None:
        return "\n".join(lines)
    config = Config(verb.config)
    asked = (word.partition("=") for word in words)
    groups = config.groups({group: option for group, _, option in asked if option in options(group)})
    lines += ["", "keys"]
    lines += _table(config.top(), comments(config.file), needed=verb.needs)
    if groups:
        lines += ["", "choices"]
        for group, option in groups.items():
            now = "as the policy was made" if option is None else option
            lines.append(f"  {group + '=' + '|'.join(options(group)):<{_WIDTH}}  now: {now}")
    for group, option in groups.items():
        if option is not None:
            said = comments(config.option_file(group, option))
            lines += ["", f"{group}={option}", *_table(config.option(group, option), said, f"{group}.")]
    lines += ["", f"all files: {folder()}"]
    return "\n".join(lines)


def _table(
    keys: Mapping[str, Any], said: Mapping[str, str], prefix: str = "", needed: tuple[str, ...] = ()
) -> list[str]:
    lines = []
    for key, value in keys.items():
        if prefix and key == "name":
            continue
        shown = "..." if key in needed else _spell(value)
        lines.append(f"  {f'{prefix}{key}={shown}':<{_WIDTH}}  {said.get(key, '')}".rstrip())
    return lines


def _spell(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(_spell(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{_spell(v)}" for k, v in value.items()) + "}"
    return str(value)
