"""The words after a verb, checked against the configs before anything heavy is imported."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from embodkd.cli import literal
from embodkd.cli.errors import Refused
from embodkd.cli.keys import Config, folder, options
from embodkd.cli.verbs import Verb, other_forms

# Hydra's own flags that are passed on. Its --experimental-rerun reads a pickle and stays out.
FLAGS = {"-m": 0, "--multirun": 0, "--cfg": 1, "-c": 1, "--info": 1, "-i": 1, "--resolve": 0, "--package": 1}
MULTIRUN = ("-m", "--multirun")
FOLDER_FLAGS = ("--config-dir", "-cd")
_WORD = re.compile(r"^(~|\+\+|\+)?([A-Za-z_][\w./@]*)(=(.*))?$", re.DOTALL)


@dataclass
class Words:
    """Hydra's flags, the overrides, the user's own config folder, and keys that are kept from Hydra."""

    flags: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    extra: str | None = None
    aside: dict[str, Any] = field(default_factory=dict)

    @property
    def multirun(self) -> bool:
        """Whether several runs are asked for."""
        return any(flag in self.flags for flag in MULTIRUN)

    @property
    def only_shown(self) -> bool:
        """Whether the config is to be printed, and nothing to be done."""
        return any(flag in self.flags for flag in ("--cfg", "-c", "--info", "-i"))


def parse(verb: Verb, words: list[str]) -> Words:
    """Sort and check the words of `verb`; Refused with the nearest right one if something is wrong."""
    if verb.config is None:
        raise ValueError(f"embodkd {verb.title} has no config")
    parsed, rest = Words(), list(words)
    for word in words:
        if not word.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in word):
            raise Refused(f"{verb.title}: {ascii(word)} holds bytes that are no text in UTF-8")
    while rest:
        word = rest.pop(0)
        flag, _, glued = word.partition("=")
        if flag in FOLDER_FLAGS or FLAGS.get(flag) == 1:
            value = glued if glued else (rest.pop(0) if rest else "")
            if not value:
                raise Refused(f"{flag} needs a value")
            if flag in FOLDER_FLAGS:
                parsed.extra = value
            parsed.flags += [flag if flag != "-cd" else "--config-dir", value]
        elif word in FLAGS:
            parsed.flags.append(word)
        elif word.startswith("-"):
            hint = _hint(word, [*FLAGS, *FOLDER_FLAGS, "--help"])
            raise Refused(f"{verb.title}: unknown option {word!r}{hint}; see embodkd {verb.title} --help")
        else:
            parsed.overrides.append(_with_key(verb, word, parsed.overrides))
    texts = _check(verb, parsed)
    _set_aside(verb, parsed)
    parsed.overrides = [_as_written(word, texts, parsed.multirun) for word in parsed.overrides]
    return parsed


def _as_written(word: str, texts: Mapping[str, bool], multirun: bool) -> str:
    """The word as Hydra's grammar must be told it, if its key takes a text."""
    match = _WORD.match(word)
    if match is None or match[4] is None or match[2] not in texts:
        return word
    return f"{match[1] or ''}{match[2]}={literal.value(match[4], texts[match[2]], multirun)}"


def _set_aside(verb: Verb, words: Words) -> None:
    """Hydra takes a key for a group as soon as a folder of configs has its name: it does not get `full=true`."""
    own = {key for key in Config(str(verb.config)).top() if (folder() / key).is_dir()}
    kept = []
    for word in words.overrides:
        key, _, value = word.lstrip("+").partition("=")
        if key in own:
            words.aside[key] = yaml.safe_load(value)
        else:
            kept.append(word)
    words.overrides = kept


def _with_key(verb: Verb, word: str, former: list[str]) -> str:
    """`runs/x` -> `policy=runs/x` for a verb that takes a bare word, also `runs/seed=0` where that is a path."""
    if word.startswith("~") or ("=" in word and not _is_path(verb, word)):
        return word
    taken = any(o.startswith(f"{verb.positional}=") for o in former)
    if verb.positional is None or taken:
        raise Refused(f"{verb.title}: {word!r} is not of the form key=value; see embodkd {verb.title} --help")
    return f"{verb.positional}={word}"


def _is_path(verb: Verb, word: str) -> bool:
    """Whether a word with an equal sign is a path that stands for the key of a bare word."""
    key, config = word.partition("=")[0].lstrip("+"), Config(str(verb.config))
    if verb.positional is None or key.startswith("hydra") or key in {*config.groups(), *config.keys()}:
        return False
    return Path(word).exists() or ("/" in key and key.partition("/")[0] not in config.groups())


def _check(verb: Verb, words: Words) -> dict[str, bool]:
    """The keys that take a text, as in `Config.texts`; Refused unless all words are right."""
    config = Config(str(verb.config), words.extra)
    groups = config.groups()
    chosen: dict[str, list[str]] = {}
    plain: list[tuple[str, str]] = []
    for word in words.overrides:
        match = _WORD.match(word)
        if match is None:
            raise Refused(f"{verb.title}: {word!r} is not of the form key=value")
        key, value = match[2].partition("@")[0], match[4]
        if key == "hydra" or key.startswith(("hydra.", "hydra/")):
            continue
        if key in groups and value is not None and not value.startswith("{"):
            chosen[key] = _chosen(verb, config, key, value)
        else:
            plain.append((key, word))
    first = {group: picks[0] for group, picks in chosen.items() if picks}
    groups = config.groups(first)
    known, texts = {*groups, *config.keys(first)}, config.texts(first)
    # Of a sweep: every key that some run has.
    for group, picks in chosen.items():
        for pick in picks[1:]:
            known |= set(config.keys({**first, group: pick}))
            texts |= config.texts({**first, group: pick})
    for key, word in plain:
        if key not in known:
            said = _of_another_form(verb, key) or _unknown(config, key, word, known, groups, chosen)
            raise Refused(f"{verb.title}: {said}")
    given = {key for key, word in plain if not word.startswith("~")} | set(chosen)
    missing = [key for key in verb.needs if key not in given]
    if missing and not words.only_shown:
        wanted = " ".join(f"{key}=..." for key in missing)
        raise Refused(f"{verb.title} needs {wanted}; for example: {verb.examples[0]}")
    return texts


def _chosen(verb: Verb, config: Config, group: str, value: str) -> list[str]:
    picks = [p.strip().strip("'\"") for p in value.split(",")]
    known = options(group, config.extra)
    for pick in picks:
        # Hydra's sweeps may be functions such as glob(*): those are its own to judge.
        if pick not in known and pick not in ("null", "") and "(" not in value:
            raise Refused(f"{verb.title}: {group} has no option {pick!r}{_hint(pick, known)}; {_all(group, known)}")
    return [p for p in picks if p in known]


def _of_another_form(verb: Verb, key: str) -> str | None:
    """What is wrong with a key that the same words know, given another key, or without one that was given."""
    head, own = key.partition(".")[0], Config(str(verb.config))
    if head in own.top() or head in own.groups():
        return None
    for other in other_forms(verb):
        config = Config(str(other.config))
        if head in config.top() or head in config.groups():
            if other.given is not None:
                choices = "|".join(options(other.given)) or "..."
                return f"{head!r} goes with {other.given}={choices}, which is not given"
            return f"{head!r} does not go with {verb.given}=...; see embodkd {verb.title} --help {verb.given}=..."
    return None


def _unknown(
    config: Config,
    key: str,
    word: str,
    known: set[str],
    groups: dict[str, str | None],
    chosen: dict[str, list[str]],
) -> str:
    head, _, tail = key.partition(".")
    spelt = key if not word.startswith("+") else f"+{key}"
    if head in groups and tail:
        standing = groups[head]
        picks = chosen.get(head) or ([standing] if standing else [])
        if not picks:
            return f"{spelt} needs a choice first: {head}={'|'.join(options(head, config.extra))}"
        inside = sorted(k for k in known if k.startswith(f"{head}."))
        what = f"{head}={','.join(picks)}"
        return f"unknown key {spelt!r}{_hint(key, inside)}; {_all(what, [k[len(head) + 1 :] for k in inside])}"
    top = sorted(k for k in known if "." not in k)
    return f"unknown key {spelt!r}{_hint(key, known)}; there are: {', '.join(top)}"


def _hint(word: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean {matches[0]!r}?" if matches else ""


def _all(what: str, known: Iterable[str]) -> str:
    return f"{what} has: {', '.join(known) or 'nothing to set'}"
