"""Configs that stand in one file, composed without Hydra: its import alone takes longer than what such verbs do."""

from __future__ import annotations

import re
from typing import Any

import yaml

from embodkd.cli import literal
from embodkd.cli.keys import folder
from embodkd.cli.overrides import Words
from embodkd.cli.verbs import Verb

_PLAIN = re.compile(r"([a-z_]+)=(.+)", re.DOTALL)
_SIMPLE = re.compile(r"null|true|false|-?(0|[1-9]\d*)(\.\d+)?")


def composed(verb: Verb, words: Words) -> dict[str, Any] | None:
    """The config of `verb` with these checked words as Hydra would compose it; None where that takes Hydra itself.

    It does for groups, sweeps, flags, interpolations, and for values that are no plain number, truth or text.
    """
    config: dict[str, Any] = yaml.safe_load((folder() / f"{verb.config}.yaml").read_text("utf-8"))
    groups = [entry for entry in config.pop("defaults", []) if isinstance(entry, dict)]
    if words.flags or words.extra is not None or any(choice is not None for g in groups for choice in g.values()):
        return None
    for word in words.overrides:
        match = _PLAIN.fullmatch(word)
        if match is None or match[1] not in config or "${" in match[2]:
            return None
        if _SIMPLE.fullmatch(match[2]):
            config[match[1]] = yaml.safe_load(match[2])
        elif (text := literal.unquoted(match[2])) is not None:
            config[match[1]] = text
        else:
            return None
    return {**config, **words.aside}
