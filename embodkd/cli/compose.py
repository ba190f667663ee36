"""From checked words to a running verb, through Hydra: composition, interpolation, multirun."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import sys
import zlib
from collections.abc import Callable
from typing import Any

from embodkd.cli import flat
from embodkd.cli.overrides import Words, parse
from embodkd.cli.verbs import Verb, find

# No folders and log files of Hydra's own: a run folder holds everything. Sweeps store what was asked for.
_QUIET = {
    "hydra.run.dir": ".",
    "hydra.output_subdir": "null",
    "hydra/job_logging": "none",
    "hydra/hydra_logging": "none",
    "hydra.sweep.dir": "runs/.multirun/${now:%Y-%m-%d_%H-%M-%S}",
    "hydra.sweep.subdir": ".",
}


_LONGEST = 160
"""Bytes of the name of a sweep's folder."""


class _Stop(BaseException):
    """Carries an error of the verb past Hydra, which would print its own line about it."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def run(verb: Verb, words: Words) -> int:
    """Compose the config of `verb` and call its function, once or (multirun) once per combination; the exit code."""
    config = flat.composed(verb, words)
    return _with_hydra(verb, words) if config is None else _carried_out(verb, config)


def _carried_out(verb: Verb, plain: dict[str, Any]) -> int:
    from embodkd.core.config.schema import build

    module, _, name = verb.function.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    made = build(function, plain, "")
    # a dataclass of the keys is called when it is made
    return (made() if callable(made) else made) or 0


def _with_hydra(verb: Verb, words: Words) -> int:
    import hydra
    from omegaconf import DictConfig, OmegaConf

    codes: list[int] = []
    single: list[dict[str, Any]] = []
    typed = list(sys.argv)

    @hydra.main(version_base="1.3", config_path="pkg://embodkd.configs", config_name=verb.config)
    def job(config: DictConfig) -> None:
        resolved: Any = OmegaConf.to_container(config, resolve=True)
        plain = {**resolved, **words.aside}
        if words.multirun:
            swept = _swept(words)
            print(f"\n[{swept}]", flush=True)
            if "run" in plain:
                plain["run"] = f"{plain['run'] or f'runs/{verb.words[-1]}'}/{swept}"
        if not words.multirun:
            # Run it when Hydra is done: a verb may call others.
            single.append(plain)
            return
        try:
            carry_out(plain)
        except Exception as error:
            raise _Stop(error) from error

    def carry_out(plain: dict[str, Any]) -> None:
        # The manifest of a run stores the command as it was typed, not as Hydra needs it.
        sys.argv = typed
        codes.append(_carried_out(verb, plain))

    # Hydra would print errors its own way and exit with 1: with this it lets them through to us.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        own = {word.lstrip("+~").partition("=")[0] for word in words.overrides}
        quiet = [f"{key}={value}" for key, value in _QUIET.items() if key not in own]
        sys.argv = [f"embodkd {verb.title}", *words.flags, *words.overrides, *quiet]
        job()
    except _Stop as stop:
        raise stop.error from None
    finally:
        sys.argv = typed
    for plain in single:
        carry_out(plain)
    return max(codes, default=0)


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


def _swept(words: Words) -> str:
    """A folder name for this run of a sweep: the values that differ between its runs, `seed=1,task=peg_hole`."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.override_parser.overrides_parser import OverridesParser

    asked = OverridesParser.create().parse_overrides(words.overrides)
    varied = {o.key_or_group for o in asked if o.is_sweep_override()}
    now = HydraConfig.get().overrides.task
    kept = [w.lstrip("+") for w in now if w.lstrip("+").partition("=")[0] in varied]
    name = re.sub(r"[^\w=.,+-]+", "_", ",".join(kept)) or "0"
    # file systems end names after 255 bytes, and files written aside have longer ones
    cut = name.encode()[:_LONGEST].decode(errors="ignore")
    return name if cut == name else f"{cut}-{zlib.crc32(name.encode()):08x}"
