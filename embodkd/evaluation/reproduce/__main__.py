"""One seed of a table in a process of its own: `python -m embodkd.evaluation.reproduce '{"file": ..., "seed": 0}'`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from embodkd.evaluation.reproduce.code import share
from embodkd.evaluation.reproduce.read import read
from embodkd.evaluation.reproduce.run import fill, one_thread


def main(words: str) -> None:
    """Fill the seed and say a line per cell; `words`: file, seed, arms, run, trainer and code as JSON."""
    asked = json.loads(words)
    share(asked["code"])
    one_thread()
    table = read(asked["file"], asked["trainer"])
    fill(table, asked["seed"], asked["arms"], Path(asked["run"]), lambda name: print(name, flush=True))


if __name__ == "__main__":
    main(sys.argv[1])
