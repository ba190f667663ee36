"""From checked words to a running verb, through Hydra: composition, interpolation, multirun."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from embodkd.cli import flat, literal
from embodkd.cli.errors import portable
from embodkd.cli.over_studies import (
    Elsewhere,
    Several,
    choices_of,
    makes_runs,
    new_study,
    run_name,
    settled,
    study_folder,
    swept_over,
)
from embodkd.cli.overrides import MULTIRUN, Words, parse
from embodkd.cli.verbs import Verb, find
from embodkd.core.runs.study import ASIDE

# No folders and log files of Hydra's own: a run folder holds everything. Sweeps store what was asked for, and of each
# run, beside the run folders.
_QUIET = {
    "hydra.run.dir": ".",
    "hydra.output_subdir": "null",
    "hydra/job_logging": "none",
    "hydra/hydra_logging": "none",
    "hydra.sweep.dir": "runs/.multirun/${now:%Y-%m-%d_%H-%M-%S}",
    "hydra.sweep.subdir": ".",
}


class _Stop(BaseException):
    """Carries an error of the verb past Hydra, which would print its own line about it.

    Hydra's launchers pickle it on its way from another process, where an error loses its trace, by which one knows
    whether it was said on purpose.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return _Stop, (portable(self.error),)


def run(verb: Verb, words: Words) -> int:
    """Compose the config of `verb` and call its function, once or (multirun, a study) once per run; the exit code."""
    words = swept_over(verb, words)
    if words.only_shown:
        _with_hydra(verb, words, lambda plain, now: None)
        return 0
    if words.multirun:
        return _sweep(verb, words)
    return _each(verb, flat.composed(verb, words) or _single(verb, words))


def _single(verb: Verb, words: Words) -> dict[str, Any]:
    """The config as Hydra composes it. The verb runs when Hydra is done: it may call others."""
    found: list[dict[str, Any]] = []
    _with_hydra(verb, words, lambda plain, now: found.append(plain))
    return found[0]


def _each(verb: Verb, config: Mapping[str, Any]) -> int:
    """Carry out what a config means: one command, or one for each run of a study."""
    commands = settled(verb, config)
    if len(commands) == 1:
        return _carried_out(verb, commands[0][1])
    several, done = Several(), list[Any]()
    for name, plain in commands:
        print(f"\n[{name}]", flush=True)
        several.carry_out(name, partial(_carried_out, verb, plain, done.append))
    if done and hasattr(done[0], "over_seeds"):
        done[0].over_seeds(done)
    return several.end()


def _carried_out(verb: Verb, plain: dict[str, Any], done: Callable[[Any], object] = lambda made: None) -> int:
    from embodkd.core.config.schema import build

    module, _, name = verb.function.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    made = build(function, plain, "")
    # a dataclass of the keys is called when it is made
    code = (made() if callable(made) else made) or 0
    done(made)
    return code


def _sweep(verb: Verb, words: Words) -> int:
    """One command for each combination of what is swept; the runs that are made are a study."""
    from omegaconf import OmegaConf

    varied, first = _first_of(words)
    several = Several()
    if not makes_runs(verb):
        with several.launched():
            _with_hydra(
                verb, words, lambda plain, now: several.carry_out(_told(now, varied), partial(_each, verb, plain))
            )
        return several.end()

    place = study_folder(verb, words, _single(verb, first), varied)
    typed = {word.lstrip("+").partition("=")[0] for word in words.overrides}

    def job(plain: dict[str, Any], now: list[str]) -> None:
        own.append(run_name(now, varied))
        ((_, plain),) = settled(verb, plain | {"run": f"{place}/{own[-1]}"}, varied, typed)
        several.carry_out(_told(now, varied), partial(_carried_out, verb, plain))

    def name(*, _root_: Any) -> str:
        return run_name(_root_.hydra.overrides.task, varied)

    OmegaConf.register_new_resolver("embodkd.run", name, replace=True)
    told = {"sweep.dir": literal.quoted(place), "sweep.subdir": f"{ASIDE}/${{embodkd.run:}}", "output_subdir": "."}
    with new_study(Path(place), choices_of(first.overrides, varied)) as own, several.launched():
        _with_hydra(verb, words, job, {f"hydra.{key}": value for key, value in told.items()})
    return several.end()


def _told(now: Sequence[str], varied: Collection[str]) -> str:
    """The name of a run of a sweep, which begins what it prints."""
    name = run_name(now, varied)
    print(f"\n[{name}]", flush=True)
    return name


def _first_of(words: Words) -> tuple[set[str], Words]:
    """The keys that are swept, and the words of the first run."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    asked = OverridesParser.create().parse_overrides(words.overrides)
    swept = {o.key_or_group: next(iter(o.sweep_string_iterator())) for o in asked if o.is_discrete_sweep()}
    first = [
        f"{o.get_key_element()}={swept[o.key_or_group]}" if o.key_or_group in swept else word
        for o, word in zip(asked, words.overrides, strict=True)
    ]
    return set(swept), replace(words, flags=[f for f in words.flags if f not in MULTIRUN], overrides=first)


def _with_hydra(
    verb: Verb, words: Words, job: Callable[[dict[str, Any], list[str]], None], own: Mapping[str, str] | None = None
) -> None:
    """Call `job` with each config that Hydra composes of the words, and with the words of that one. own: more words."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig, OmegaConf

    typed = list(sys.argv)

    @hydra.main(version_base="1.3", config_path="pkg://embodkd.configs", config_name=verb.config)
    def composed(config: DictConfig) -> None:
        plain: Any = OmegaConf.to_container(config, resolve=True)
        # The manifest of a run stores the command as it was typed, not as Hydra needs it.
        asked, sys.argv = sys.argv, typed
        try:
            job({**plain, **words.aside}, list(HydraConfig.get().overrides.task))
        except Elsewhere:
            raise
        except Exception as error:
            raise _Stop(error) from error
        finally:
            sys.argv = asked

    # Hydra would print errors its own way and exit with 1: with this it lets them through to us.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        given = {word.lstrip("+~").partition("=")[0] for word in words.overrides}
        quiet = [f"{key}={value}" for key, value in {**_QUIET, **(own or {})}.items() if key not in given]
        sys.argv = [f"embodkd {verb.title}", *words.flags, *words.overrides, *quiet]
        composed()
    except _Stop as stop:
        raise stop.error from None
    finally:
        sys.argv = typed


def resolved(command: str) -> tuple[str, dict[str, Any]]:
    """What `embodkd` with these words would call, "module:function", and the resolved config that it would get."""
    from hydra import compose, initialize_config_module
    from omegaconf import OmegaConf

    verb, rest = find(shlex.split(command))
    if verb is None:
        raise ValueError(f"no verb of embodkd begins {command!r}")
    words = parse(verb, rest)
    with initialize_config_module("embodkd.configs", version_base="1.3"):
        config: Any = OmegaConf.to_container(compose(verb.config, words.overrides), resolve=True)
    return verb.function, {**config, **words.aside}
