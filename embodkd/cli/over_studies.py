"""Verbs over studies: a key that names a run may name several, and the command is then carried out for each of them."""

from __future__ import annotations

import os
import re
import sys
import traceback
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from platform import node
from typing import Any

from embodkd.cli import literal
from embodkd.cli.errors import portable, said_on_purpose, show
from embodkd.cli.keys import Config
from embodkd.cli.overrides import Words
from embodkd.cli.verbs import Verb
from embodkd.core.ranks import ranks
from embodkd.core.runs.files import remove_folder
from embodkd.core.runs.memory import out_of_memory
from embodkd.core.runs.study import ASIDE, FILE, StudyRun, choices, runs_at
from embodkd.core.runs.unbegun import missing_folders, remove_empty

_LONGEST = 160
"""Bytes of the name of a run's folder."""


def makes_runs(verb: Verb) -> bool:
    """Whether a verb writes a run folder of its own."""
    return verb.config is not None and "run" in Config(verb.config).top() and "run" not in verb.runs


def swept_over(verb: Verb, words: Words) -> Words:
    """The words of a verb that makes runs: a study that one of them names as a sweep over its runs."""
    if not makes_runs(verb):
        return words
    overrides, leading = [], None
    for word in words.overrides:
        key, _, value = word.partition("=")
        if key in verb.runs and not value.startswith("["):
            pieces = literal.split(value) if words.multirun else [value]
            folders = [folder for piece in pieces for folder in _folders(piece)]
            if len(folders) == 1 or leading is None:
                leading = key if len(folders) > 1 else leading
                word = f"{key}={','.join(folders)}"
        overrides.append(word)
    flags = words.flags if words.multirun or leading is None else [*words.flags, "-m"]
    return replace(words, flags=flags, overrides=overrides)


def _folders(piece: str) -> list[str]:
    """What a piece of a word means, in quotes: the folders of its runs, or itself."""
    text = literal.unquoted(piece)
    found = None if text is None else runs_at(text)
    return [piece] if found is None else [literal.quoted(str(run.folder)) for run in found]


def settled(
    verb: Verb, config: Mapping[str, Any], swept: Collection[str] = (), typed: Collection[str] = ()
) -> list[tuple[str, dict[str, Any]]]:
    """(name, config) of each command that one config means, once its runs of studies are looked up.

    A list of places is what it is asked of at once: a study in it is all its runs. Of two studies the second one's
    run is the one that agrees with the first one's; ValueError if there is none, or several. swept: the keys that
    differ between the runs of a sweep; one made from a run of a study has that one's seed, unless `typed` has another.
    """
    plain = dict(config)
    found: dict[str, tuple[StudyRun, ...]] = {}
    for key in verb.runs:
        value = plain.get(key)
        if isinstance(value, list):
            plain[key] = [place for entry in value for place in _places(entry)]
        elif isinstance(value, str) and (runs := runs_at(value)) is not None and not (verb.together and len(runs) > 1):
            found[key] = runs
    if not found:
        return [("", plain)]
    leading = next((key for key in found if key in swept or len(found[key]) > 1), next(iter(found)))
    commands = []
    for run in found[leading]:
        paired = {key: str(_partner(key, runs, run).folder) for key, runs in found.items() if key != leading}
        seed = {"seed": run.seed} if leading in swept and run.seed is not None and "seed" not in typed else {}
        commands.append((run.folder.name, {**plain, **paired, **seed, leading: str(run.folder)}))
    if len(commands) > 1 and plain.get("out") is not None:
        raise ValueError(
            f"out={plain['out']} is one place for what {len(commands)} runs of a study give: leave it out, and each "
            "keeps its own in its run folder"
        )
    return commands if len(commands) > 1 else [("", commands[0][1])]


def _places(entry: str) -> list[str]:
    found = runs_at(entry)
    return [entry] if found is None else [str(run.folder) for run in found]


def _partner(key: str, runs: Sequence[StudyRun], of: StudyRun) -> StudyRun:
    if len(runs) == 1:
        return runs[0]
    fitting = [r for r in runs if all(of.choices.get(k, v) == v for k, v in r.choices.items())]
    if len(fitting) != 1:
        names = ", ".join(run.folder.name for run in runs[:6])
        raise ValueError(
            f"{key}: {len(fitting)} of {names} are for {of.folder}: name one, or a study whose runs differ in the same"
        )
    return fitting[0]


def choices_of(words: Sequence[str], swept: Collection[str]) -> dict[str, str]:
    """What sets a run of a sweep apart from the others, by the words of its command."""
    return choices(dict(word.lstrip("+").partition("=")[::2] for word in words), swept)


def run_name(words: Sequence[str], swept: Collection[str]) -> str:
    """A folder name for a run of a sweep: the values that differ between its runs, `seed=1,task=peg_hole`."""
    apart = ",".join(f"{key}={value}" for key, value in choices_of(words, swept).items())
    name = re.sub(r"[^\w=.,+-]+", "_", apart) or "0"
    # file systems end names after 255 bytes, and files written aside have longer ones
    cut = name.encode()[:_LONGEST].decode(errors="ignore")
    return name if cut == name else f"{cut}-{zlib.crc32(name.encode()):08x}"


def study_folder(verb: Verb, words: Words, first: Mapping[str, Any], swept: Collection[str]) -> str:
    """Where the runs of a sweep lie: as asked for, else by what they have in common. first: the config of one."""
    if any(word.startswith("run=") for word in words.overrides):
        return str(first["run"])
    what = [first[key] for key in ("student",) if isinstance(first.get(key), Mapping) and key not in swept]
    where = [first[key] for key in ("task", "data") if isinstance(first.get(key), Mapping) and key not in swept]
    if not where and "task" not in swept:
        where = [{"name": task} for key in verb.runs if (task := _task_of(first.get(key)))][:1]
    noun = [choice["name"] for choice in what] or [verb.words[-1]]
    return f"runs/{'_'.join([*noun, *(choice['name'] for choice in where)])}"


@contextmanager
def new_study(folder: Path, first: Mapping[str, str]) -> Iterator[list[str]]:
    """Inside, a sweep fills the study `folder` and notes the names of its runs in the list that it gets; what Hydra
    wrote about those that came to nothing goes again.

    More runs may join a study, also while another process fills it. ValueError if the folder is a run, or its runs
    differ in other keys than in those of `first`, by which the new ones are named.
    """
    if (folder / "config.yaml").exists():
        raise ValueError(f"{folder}: is a single run; choose another folder for several, run=...")
    names = [aside.name for aside in folder.glob(f"{ASIDE}/*") if (folder / aside.name).is_dir()]
    there = dict.fromkeys(part.partition("=")[0] for name in names for part in name.split(","))
    if there and there.keys() != first.keys():
        raise ValueError(
            f"{folder}: its runs differ in {', '.join(there)}, those asked for in {', '.join(first)}; choose another "
            "folder, run=..."
        )
    made, own = missing_folders(folder / ASIDE), list[str]()
    try:
        yield own
    finally:
        for name in own:
            if not (folder / name).is_dir() and (folder / ASIDE / name).is_dir():
                remove_folder(folder / ASIDE / name)
        if made and not any((folder / ASIDE).glob("*")):
            (folder / FILE).unlink(missing_ok=True)
            remove_empty([path for path in made if path.is_dir()])


def _task_of(policy: Any) -> str | None:
    """The task that a policy was made for, None where there is no policy yet."""
    from embodkd.cli.common import is_classifier, policy_folder

    if not isinstance(policy, str) or is_classifier(policy) or not (policy_folder(policy) / "config.json").is_file():
        return None
    from embodkd.policies.artefact import read_meta

    return str(read_meta(policy_folder(policy))["task"]["name"])


class Elsewhere(Exception):
    """A command that failed in another process: (its name and why, its exit code)."""


@dataclass
class Several:
    """Commands of one study: each is carried out, whatever becomes of the others, and those that failed are named.

    home: the process that asks for what became of all. In another one, where a launcher of Hydra's took a command, a
    failure is raised as `Elsewhere`: Hydra carries the first one home when all are done.
    """

    codes: list[int] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    home: tuple[str, int] = field(default_factory=lambda: (node(), os.getpid()))
    lost: Elsewhere | None = None

    def carry_out(self, name: str, command: Callable[[], int]) -> None:
        """Do one; an error is said as it would be for a single command."""
        if ranks().size > 1:
            self.codes.append(command())  # the ranks could not agree any more on which run they are in
            return
        code, said = 1, ""
        try:
            self.codes.append(code := command())
        except Exception as error:
            self.failed.append(name)
            said = f": {portable(error)}"
            if said_on_purpose(error) or out_of_memory(error):
                show(error)
            else:
                traceback.print_exc()
        if code and self.home != (node(), os.getpid()):
            raise Elsewhere(f"{name}{said}", code)

    @contextmanager
    def launched(self) -> Iterator[None]:
        """Inside, a launcher carries them out, here or elsewhere."""
        try:
            yield
        except Elsewhere as error:
            self.lost = error

    def end(self) -> int:
        """The exit code of all, after a line about those that failed."""
        if self.lost is not None:
            said, code = self.lost.args
            print(f"embodkd: a run failed, others may have, too: {said}", file=sys.stderr)
            return int(code)
        if not self.failed:
            return max(self.codes, default=0)
        of = len(self.codes) + len(self.failed)
        print(f"embodkd: {len(self.failed)} of {of} runs failed: {'; '.join(self.failed)}", file=sys.stderr)
        return 1
