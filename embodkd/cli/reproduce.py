"""`embodkd reproduce`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from embodkd.cli.groups import Devices
from embodkd.cli.keys import folder, options
from embodkd.core.config.ranges import Seed, Within
from embodkd.core.config.registry import near


def reproduce(
    slug: str | None,
    seeds: list[Seed] | Seed | None,
    arms: list[str] | str | None,
    jobs: Annotated[int, Within(1, 256)],
    full: bool,
    stale: Literal["mark", "remake"] | None,
    dry_run: bool,
    run: str | None,
    out: str | None,
    trainer: Devices,
    quiet: bool,
) -> int:
    """Fill a table and print it; without a slug list the tables.

    The exit code is 1 if one of its claims fails, or is undecided by the whole table.
    """
    if slug is None and stale is not None:
        return _every_table(stale, jobs, quiet)
    if slug is None:
        print("\n".join(line for group in (["full"] if full else ["reproduce", "systems"]) for line in _listed(group)))
        return 0
    if slug in options("systems"):
        given = {"seeds": seeds is not None, "full": full, "trainer": trainer != Devices()}
        for key in (key for key, there in given.items() if there):
            raise ValueError(
                f"{key}: {slug} is a chain of commands with keys of their own; choose its cells by words in their "
                "names, for example arms=[peg_assembly/gripper/low/0]"
            )
        return _system(slug, arms, jobs, dry_run, run, out, stale)
    from embodkd.evaluation import reproduce as tables

    file = table_file(slug, "full" if full else "reproduce")
    chosen = {key: value for key, value in asdict(trainer).items() if value is not None}
    if dry_run:
        rows = tables.dry_run(file, trainer=chosen)
        print(f"{file}: all {len(rows)} trainings can be built and make updates")
        return 0
    result, whole = tables.reproduce(
        file,
        seeds=[seeds] if isinstance(seeds, int) else seeds,
        arms=[arms] if isinstance(arms, str) else arms,
        jobs=jobs,
        run=run or (Path("runs", "full", file.stem) if full else None),
        trainer=chosen,
        quiet=quiet,
    )
    print(tables.as_text(result))
    if whole or out is not None:
        usual = Path("results", *(["full"] if full else []), result["slug"] + ".json")
        print(f"written to {tables.write(result, out or usual)}")
    else:
        print("not written: some arms or seeds of the table are left out (out=FILE writes it anyway)")
    # a few seeds leave most claims undecided, which is no failure of theirs
    broken = [one for one in result["checks"] if one["outcome"] == "fails" or (whole and not one["passed"])]
    return 1 if broken else 0


def _every_table(stale: str, jobs: int, quiet: bool) -> int:
    """Say of every table of `configs/reproduce` whether it is stored and holds; with "remake" fill those that do not.

    A table that cannot be filled does not hold up the others. What is stored of one that was stopped is used again.
    """
    from embodkd.evaluation import reproduce as tables

    failed = False
    for slug, why in _state().items():
        print(f"{slug}: {why or 'as its file and the sources say'}", flush=True)
        if why is None or stale == "mark":
            continue
        try:
            result, _ = tables.reproduce(table_file(slug), jobs=jobs, quiet=quiet)
        except (ValueError, OSError, FloatingPointError) as error:
            print(f"{slug}: {error}", file=sys.stderr, flush=True)
            failed = True
            continue
        print(tables.as_text(result))
        print(f"written to {tables.write(result, Path('results', f'{slug}.json'))}", flush=True)
        failed |= not all(check["passed"] for check in result["checks"])
    return 1 if failed else 0


def _state() -> dict[str, str | None]:
    """Every table -> why it must be filled anew, None if it need not."""
    from embodkd.evaluation.reproduce.read import read
    from embodkd.evaluation.reproduce.stale import stale
    from embodkd.evaluation.status import stored_tables

    stored = {result["slug"]: result for result in stored_tables()}
    names = options("reproduce")
    return {n: stale(stored[n], read(table_file(n)), sources=True) if n in stored else "not stored" for n in names}


def marks(slug: str) -> dict[str, Any]:
    """What results of a table would rest on if they were made now: of a system the mark of every cell, by name."""
    if slug in options("systems"):
        from embodkd.cli.compose import resolved
        from embodkd.evaluation.chains import read_chains
        from embodkd.evaluation.tables.cell import Marks

        cells = read_chains(folder() / "systems" / f"{slug}.yaml")
        found = Marks(cells, resolved)
        return {name: dict(found.of(name)) for name in cells}
    from embodkd.evaluation.reproduce.read import read
    from embodkd.evaluation.reproduce.run import sources_of

    table = read(table_file(slug))
    return {"config": table.config(), "sources": sources_of(table)}


def with_staleness(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The results with the key `stale`: why each is not what its file says now, None if it is."""
    from embodkd.evaluation.reproduce.read import read
    from embodkd.evaluation.reproduce.stale import stale

    known = options("reproduce")
    gone = "there is no such table any more"
    return [{**r, "stale": stale(r, read(table_file(r["slug"]))) if r["slug"] in known else gone} for r in results]


def _system(
    slug: str,
    words: list[str] | str | None,
    jobs: int,
    dry_run: bool,
    run: str | None,
    out: str | None,
    stale: str | None,
) -> int:
    """Fill the tables of a whole system; `arms` are words of which a cell's name contains one."""
    from embodkd.cli.compose import resolved
    from embodkd.evaluation.chains import listing, read_chains
    from embodkd.evaluation.tables.cell import Marks
    from embodkd.evaluation.tables.fill import check, fill
    from embodkd.evaluation.tables.rows import Rows

    cells = read_chains(folder() / "systems" / f"{slug}.yaml", run)
    if dry_run:
        from embodkd.cli.overrides import parse
        from embodkd.cli.verbs import find

        for cell in cells.values():
            verb, rest = find(shlex.split(cell.command))
            if verb is None:
                raise ValueError(f"{cell.name}: no verb of embodkd begins {cell.command!r}")
            parse(verb, [*rest, "quiet=true"])
        print(f"all {len(cells)} commands of {slug} are right")
        return 0
    chosen = [words] if isinstance(words, str) else words or ()
    rows = Rows(out or Path("results", f"{slug}.json"), slug, cells)
    failed = 0
    if stale == "mark":
        check(cells, rows, Marks(cells, resolved))
    else:
        failed = fill(cells, rows, resolved, words=chosen, jobs=jobs, stale=stale == "remake")
    print(listing(rows.load()))
    return 1 if failed else 0


def table_file(slug: str, group: str = "reproduce") -> Path:
    """The YAML file of a table, given its slug or the path of a file; ValueError with the nearest slugs otherwise."""
    if slug.endswith((".yaml", ".yml")):
        return Path(slug)
    known = options(group)
    if slug not in known:
        raise ValueError(f"{group}: no table {slug!r}: {near(slug, known)}; or give the path of a YAML file")
    return folder() / group / f"{slug}.yaml"


def _listed(group: str) -> list[str]:
    """One line per table: slug and title."""
    import yaml

    names = options(group)
    titles = {name: yaml.safe_load(table_file(name, group).read_text("utf-8")).get("title", "") for name in names}
    return [f"{name:<{max(map(len, names))}}  {title}" for name, title in titles.items()] or ["there are no tables"]
