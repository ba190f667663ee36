"""Do two commits make the same weights? Short runs of both on this machine, compared bit for bit.

    python -m benchmarks.same OLD                  # against the tracked files as they are now, committed or not
    python -m benchmarks.same OLD NEW              # two commits
    python -m benchmarks.same OLD --only kd trg    # runs whose name contains a word, and what these need
    python -m benchmarks.same OLD --keep FOLDER    # a run that was made there of the same commit is not made again
    python -m benchmarks.same OLD --list           # the runs
    python -m benchmarks.same OLD NEW --sign results/*.json   # results that only an edit without effect made stale hold

There is a run of every registered method and of every recipe of a robot system (`benchmarks.same_runs`), each of a few
seconds. Compared are the weights that a run leaves, its recorded episodes, its judgement, and the numbers that it said
on the way (which tell of helpers that are not kept), as far as both sides have them. Only what two sides on one machine
say can be compared: bits differ between processors and builds of torch, so nothing here is stored for later.

Both commits are checked out as worktrees, and each runs in this interpreter's environment with its own sources in
front. The exit code is 0 if all that both can run is equal, 1 otherwise. What differs on purpose is listed all the
same: say why in the commit. A table of methods is signed if the runs of all its methods are equal, rows of a system if
all runs are.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from benchmarks.same_runs import TABLE, Commands, chosen, commands, needed
from benchmarks.same_signed import ASKED, rests_on, sign, slug_of
from embodkd.core.runs.files import read_tensors, write_json
from embodkd.core.runs.reading import read_json, read_lines

_ROOT = Path(__file__).resolve().parents[1]
# One process makes all runs of a side: most of a short run would be imports.
_CHILD = """
import contextlib, json, sys
from pathlib import Path
import embodkd, embodkd.envs, embodkd.policies, embodkd.configs
for part in (embodkd, embodkd.envs, embodkd.policies, embodkd.configs):
    assert Path(part.__path__[0]).resolve().is_relative_to(sys.argv[1]), f"{part} is not of {sys.argv[1]}"
from embodkd.cli import main
for line in sys.stdin:
    name, words = json.loads(line)
    with open(f"{name}.log", "w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        code = main(words)
    Path(f"{name}.code").write_text(str(code))
    print(name, flush=True)
"""
_CLOCKS = ("time", "minutes", "seconds", "per_s", "memory", "fps", "date")


class Side:
    """A commit, its worktree and its runs: `folder`/work/runs/NAME, with NAME.log and NAME.made beside `runs`."""

    def __init__(self, commit: str, keep: Path) -> None:
        self.commit, self.folder = commit, keep / commit
        self.tree, self.work = self.folder / "tree", self.folder / "work"

    @contextlib.contextmanager
    def checked_out(self) -> Iterator[Side]:
        """The worktree, with the folders that are installed below `embodkd` linked there."""
        self.work.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            git("worktree", "prune")
            git("worktree", "add", "--force", "--detach", str(self.tree), self.commit)
            try:
                for part in ("envs", "policies", "configs"):
                    (self.tree / "embodkd" / part).symlink_to(self.tree / part)
                (self.work / "table.yaml").write_text(TABLE, encoding="utf-8")
                yield self
            finally:
                git("worktree", "remove", "--force", str(self.tree))

    def methods(self) -> dict[str, str]:
        """Its registered methods: name -> domain."""
        listed = json.loads(self._python(["-m", "embodkd.cli", "methods", "--json"]))
        return {method["slug"]: method["domain"] for method in listed}

    def marks(self, slugs: list[str]) -> dict[str, Any]:
        """What results of these tables would rest on if this side made them."""
        said: dict[str, Any] = json.loads(self._python(["-c", ASKED, json.dumps(slugs)]))
        return said

    def make(self, runs: Commands) -> None:
        """Make the runs that were not made by the same command with the same packages; says a line for each."""
        todo: Commands = {}
        for name, command in runs.items():
            if any(other in todo for other in needed(command, runs)) or self._made(name) != _mark(command):
                todo[name] = command
        words = []
        for name, command in todo.items():
            subprocess.run(["rm", "-rf", f"runs/{name}", f"{name}.made", f"{name}.code"], cwd=self.work, check=True)
            words.append(json.dumps([name, f"{command} run=runs/{name} quiet=true".split()]))
        self._python(["-c", _CHILD, str(self.tree.resolve())], "\n".join(words))
        for name, command in todo.items():
            if self.failure(name) is None:
                write_json(self.work / f"{name}.made", _mark(command))

    def failure(self, name: str) -> str | None:
        """What a run said last, if it failed."""
        code = self.work / f"{name}.code"
        if code.exists() and code.read_text() == "0":
            return None
        log = self.work / f"{name}.log"
        lines = log.read_text(encoding="utf-8").strip().splitlines() if log.exists() else []
        return lines[-1] if lines else "the process ended before it"

    def _made(self, name: str) -> Any:
        file = self.work / f"{name}.made"
        return read_json(file) if file.exists() else None

    def _python(self, words: list[str], given: str = "") -> str:
        environment = {**os.environ, "PYTHONPATH": str(self.tree.resolve()), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *words], cwd=self.work, env=environment, input=given, capture_output=True, text=True
        )
        if done.returncode and not given:
            raise SystemExit(f"{self.commit[:10]}: {done.stderr[-2000:]}")
        if done.returncode:
            print(f"{self.commit[:10]} stopped: {done.stderr[-2000:]}", file=sys.stderr)
        return done.stdout


def differences(one: Path, other: Path) -> list[str]:
    """What differs between two run folders, in words; [] if they hold the same numbers.

    A file that only the later side writes, beside what both have, is new and moves nothing.
    """
    found = []
    kept = ("**/*.safetensors", "**/*.parquet")
    sides = [{str(f.relative_to(run)) for kind in kept for f in run.glob(kind)} for run in (one, other)]
    sides = [{file for file in files if "checkpoints/" not in file and "banks/" not in file} for files in sides]
    if not sides[0]:
        found.append("the first left no weights")
    found += [f"{file}: only in the first" for file in sorted(sides[0] - sides[1])]
    for file in sorted(sides[0] & sides[1]):
        found += [f"{file}: {said}" for said in _in_file(one / file, other / file)]
    for file in sorted(f.relative_to(one) for f in one.glob("**/evaluation.json")):
        if (other / file).is_file():
            judged = [read_json(run / file)["per_episode"] for run in (one, other)]
            if judged[0] != judged[1]:
                found.append(f"{file}: other outcomes")
    for file in sorted(f.relative_to(one) for f in one.glob("**/metrics.jsonl")):
        found += [f"{file}: {said}" for said in _said(read_lines(one / file), read_lines(other / file))]
    return found


def _in_file(one: Path, other: Path) -> list[str]:
    if one.suffix == ".parquet":
        return [] if one.read_bytes() == other.read_bytes() else ["other rows"]
    first, second = read_tensors(one), read_tensors(other)
    found = [f"{name} is only on one side" for name in sorted(first.keys() ^ second.keys())]
    changed, largest = 0, 0.0
    for name in first.keys() & second.keys():
        a, b = (torch.as_tensor(side[name]) for side in (first, second))  # arrays of a checkpoint are arrays
        if a.shape != b.shape or a.dtype != b.dtype:
            found.append(f"{name} is {tuple(a.shape)} {a.dtype} and {tuple(b.shape)} {b.dtype}")
        elif not torch.equal(*(side.flatten().view(torch.uint8) for side in (a, b))):
            changed, largest = changed + 1, max(largest, float((a.double() - b.double()).abs().max()))
    if changed:
        found.append(f"{changed} of {len(first)} tensors differ, by at most {largest:.3g}")
    return found


def _said(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> list[str]:
    """Numbers of the log under names that both sides have, clocks aside."""
    if len(one) != len(other):
        return [f"{len(one)} and {len(other)} lines"]
    names = {
        name
        for a, b in zip(one, other, strict=True)
        for name in a.keys() & b.keys()
        # a number that is no number is equal to itself here
        if not any(clock in name for clock in _CLOCKS) and repr(a[name]) != repr(b[name])
    }
    return [f"{', '.join(sorted(names))} differ"] if names else []


def _mark(command: str) -> Mapping[str, Any]:
    from embodkd.core.runs.manifest import versions

    packages = {name: version for name, version in versions().items() if name != "embodkd"}
    return {"command": command, "table": TABLE, "packages": packages, "python": sys.version}


def git(*words: str) -> str:
    """The answer of git in this checkout."""
    done = subprocess.run(["git", "-C", str(_ROOT), *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def main() -> int:
    """Make both sides' runs, compare them, say a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="a commit")
    parser.add_argument("new", nargs="?", help="another one; without it the tracked files as they are")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="runs whose name contains one of these")
    parser.add_argument("--keep", type=Path, help="a folder for the runs; without it a temporary one")
    parser.add_argument("--jobs", type=int, default=1, choices=(1, 2), help="2: both sides side by side")
    parser.add_argument("--sign", nargs="+", type=Path, metavar="FILE", help="results to sign anew if nothing moved")
    parser.add_argument("--list", action="store_true", help="print the runs and stop")
    asked = parser.parse_args()
    if asked.sign and (asked.only or not asked.new):
        parser.error("--sign needs two commits and all runs: what is not compared may have changed")
    changed = "" if asked.new else git("stash", "create")
    names = [git("rev-parse", "--verify", f"{name}^{{commit}}") for name in (asked.old, asked.new or changed or "HEAD")]
    with contextlib.ExitStack() as stack:
        keep = asked.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if names[0] == names[1]:
            # Does a commit agree with itself? It runs twice, in two places.
            sides = [Side(names[0], keep.resolve()), Side(names[1], keep.resolve() / "again")]
        else:
            sides = [Side(name, keep.resolve()) for name in names]
        for side in sides:
            stack.enter_context(side.checked_out())
        known = [commands(side.methods()) for side in sides]
        both = chosen({name: command for name, command in known[1].items() if name in known[0]}, asked.only)
        if asked.list:
            print("\n".join(f"{name}: embodkd {command}" for name, command in both.items()))
            return 0
        if not both:
            raise SystemExit(f"--only: no run has one of {', '.join(asked.only)} in its name; --list shows them")
        with ThreadPoolExecutor(asked.jobs) as pool:
            list(pool.map(lambda side: side.make(both), sides))
        differ = _compared(sides[0], sides[1], both, sorted(known[0].keys() ^ known[1].keys()))
        found = {file: slug_of(file) for file in asked.sign or []}
        slugs = [slug for slug in found.values() if slug is not None]
        old, new = (side.marks(slugs) for side in sides)
        for file, slug in found.items():
            if slug is None:
                print(f"{file}: no table of `embodkd reproduce`, left as it is")
                continue
            moved = sorted(differ & rests_on(old[slug], both))
            count, of = (0, "all") if moved else sign(file, old[slug], new[slug], (names[0], names[1]))
            print(f"{file}: {count} of {of} results signed anew{', moved: ' * bool(moved)}{', '.join(moved)}")
        return int(bool(differ))


def _compared(one: Side, other: Side, runs: Commands, lonely: list[str]) -> set[str]:
    """Print a line per run; the names of those that differ."""
    differ: set[str] = set()
    width = max(map(len, runs))
    for name in runs:
        failures = [side.failure(name) for side in (one, other)]
        if any(failures):
            said = [
                f"cannot run in {side.commit[:10]}: {f}" for side, f in zip((one, other), failures, strict=True) if f
            ]
        else:
            said = differences(one.work / "runs" / name, other.work / "runs" / name)
        differ |= {name} if said else set()
        print(f"{name:<{width}}  {'DIFFERS: ' + '; '.join(said) if said else 'equal'}")
    for name in lonely:
        print(f"{name:<{width}}  only in one of the two")
    return differ


if __name__ == "__main__":
    sys.exit(main())
