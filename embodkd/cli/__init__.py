"""The command line: `embodkd <verb> [<noun>] [overrides]`.

Only the verb that runs imports what it needs: help, completion and refusals answer without torch, Hydra or MuJoCo.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

_HELP = ("--help", "-h", "help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 (the answer is no), 2 (a mistake that the user can mend), 3 (another
    process of several is gone), 130 (SIGINT) or 143 (SIGTERM)."""
    from embodkd.cli.several import Ended, explain, one_voice

    words = list(sys.argv[1:] if argv is None else argv)
    # Threads that wait must not burn a busy machine's time; read once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    former = sys.argv
    if argv is not None:
        # A command called from Python: what it stores as its own command is this, not that of the caller.
        sys.argv = ["embodkd", *words]
    try:
        with one_voice():
            return _dispatch(words)
    except BrokenPipeError:
        # Whoever read the output has seen enough; keep Python from complaining when it flushes at exit.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (it stays open until the end)
        return 0
    except (Exception, KeyboardInterrupt, Ended) as error:
        return explain(error)
    finally:
        sys.argv = former


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["__complete"]:
        from embodkd.cli.completion import candidates

        print("\n".join(candidates(words[1:])))
        return 0
    if not words or words[0] in _HELP:
        from embodkd.cli.help import overview

        print(overview())
        return 0 if words else 2
    if words[0] in ("--version", "-V"):
        import embodkd

        print(f"embodkd {embodkd.__version__}")
        return 0
    return _verb(words)


def _verb(words: list[str]) -> int:
    from embodkd.cli.verbs import find

    verb, rest = find(words)
    if verb is None:
        return _no_verb(words)
    if "--help" in rest or "-h" in rest:
        from embodkd.cli.help import of_verb

        print(of_verb(verb, rest))
        return 0
    from embodkd.cli.several import part_in

    if verb.config is None:
        module, _, name = verb.function.partition(":")
        with part_in(verb) as mine:
            return int(getattr(importlib.import_module(module), name)(rest)) if mine else 0
    from embodkd.cli.overrides import parse

    parsed = parse(verb, rest)
    with part_in(verb) as mine:
        if not mine:
            return 0
        from embodkd.cli.compose import run

        return run(verb, parsed)


def _no_verb(words: list[str]) -> int:
    from embodkd.cli.errors import Refused
    from embodkd.cli.help import of_prefix
    from embodkd.cli.verbs import after
    from embodkd.core.config.registry import near

    nouns = after(words[:1])
    if nouns and (len(words) == 1 or words[1] in _HELP):
        print(of_prefix(words[0]))
        return 0 if len(words) > 1 else 2
    if nouns:
        raise Refused(f"{words[0]}: unknown noun {words[1]!r}: {near(words[1], nouns)}")
    raise Refused(f"unknown verb {words[0]!r}: {near(words[0], after([]))}")
