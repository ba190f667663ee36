"""One clear line for what the user can mend, a full trace for what only we can."""

from __future__ import annotations

import os
import sys
import traceback

from embodkd.core.runs.memory import out_of_memory
from embodkd.core.runs.portable import comes_through

MENDABLE = (ValueError, OSError, FloatingPointError, ImportError)


class Refused(ValueError):
    """A mistake on the command line itself."""


def said_on_purpose(error: BaseException) -> bool:
    """Whether our own code raised `error`; the same class out of a library is a fault of ours, not of the user."""
    if type(error).__module__.split(".")[0] in ("hydra", "omegaconf"):
        return True
    if not isinstance(error, MENDABLE) or os.environ.get("EMBODKD_TRACE") == "1":
        return False
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and str(frames[-1][0].f_globals.get("__name__", "")).split(".")[0] == "embodkd"


def portable(error: Exception) -> Exception:
    """`error` as another process is to see it: one that was said on purpose stays what it is; of any other the trace
    is what it says."""
    if said_on_purpose(error) or out_of_memory(error):
        if comes_through(error):
            return error
        said = ValueError(str(error))
        for note in getattr(error, "__notes__", []):
            said.add_note(note)
        return said
    return RuntimeError(f"{error}\n\n{''.join(traceback.format_exception(error))}")


def show(error: BaseException) -> int:
    """Print `error` in one line and return the exit code 2; raise it if it is not the user's to mend."""
    if os.environ.get("EMBODKD_TRACE") != "1" and out_of_memory(error):
        wanted = (str(error).splitlines() or [""])[0]
        print(f"embodkd: not enough memory ({wanted}): ask for less at a time (copies, batch, sizes)", file=sys.stderr)
        return 2
    if not said_on_purpose(error):
        raise error
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    # Hydra's parser says what it did not like, and keeps to itself where.
    override = getattr(error, "override", None)
    text = f"{override!r}: {text.partition(' See http')[0]}" if override else text
    text = "; ".join([text, *getattr(error, "__notes__", [])])
    print(f"embodkd: {text}", file=sys.stderr)
    return 2
