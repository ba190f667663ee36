"""`embodkd reproduce`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from embodkd.cli.groups import Devices
from embodkd.cli.keys import folder, options
from embodkd.core.config.ranges import Seed
from embodkd.core.config.registry import near
from embodkd.evaluation.tables.machines import Jobs


def reproduce(
    slug: str | None,
    seeds: list[Seed] | Seed | None,
    arms: list[str] | str | None,
    jobs: Jobs,
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
    given = {"seeds": seeds, "full": full or None, "trainer": None if trainer == Devices() else trainer}
    more = {"arms": arms, "dry_run": dry_run or None, "run": run, "out": out}
    if slug in options("systems"):
        _refuse(
            {**given, "full": None},
            f"{slug} is a chain of commands with keys of their own; choose its cells by words in their names, for "
            "example arms=[peg_assembly/gripper/low/0]",
        )
        if dry_run and stale is not None:
            raise ValueError("dry_run and stale: one tries commands, the other looks at results; give one of them")
        return _system(slug, full, arms, jobs, dry_run, run, out, stale)
    if stale is not None:
        _refuse({**given, **more}, f"stale={stale} is about stored tables, each as its file says; leave the key out")
        return _stored_tables(options("reproduce") if slug is None else [slug], stale, jobs, quiet)
    if slug is None:
        _refuse({**given, **more, "full": None}, "of which table? Give its slug; without one they are listed")
        print("\n".join(line for group in (["full"] if full else ["reproduce", "systems"]) for line in _listed(group)))
        return 0
    from embodkd.evaluation import reproduce as tables

    file = table_file(slug, "full" if full else "reproduce")
    trained = {key: value for key, value in asdict(trainer).items() if value is not None}
    wanted = [arms] if isinstance(arms, str) else arms
    if dry_run:
        rows = tables.dry_run(file, arms=wanted, trainer=trained)
        print(f"{file}: all {len(rows)} trainings can be built and make updates")
        return 0
    result, whole = tables.reproduce(
        file,
        seeds=[seeds] if isinstance(seeds, int) else seeds,
        arms=wanted,
        jobs=jobs,
        run=run or (Path("runs", "full", file.stem) if full else None),
        trainer=trained,
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


def _refuse(given: Mapping[str, Any], why: str) -> None:
    """ValueError for the first key that was given a value and has no meaning here."""
    for key, value in given.items():
        if value is not None:
            raise ValueError(f"{key}: {why}")


def _stored_tables(slugs: Sequence[str], stale: str, jobs: Jobs, quiet: bool) -> int:
    """Say of tables of `configs/reproduce` whether they are stored and hold; with "remake" fill those that do not.

    A table that cannot be filled does not hold up the others. What is stored of one that was stopped is used again.
    """
    from embodkd.evaluation import reproduce as tables

    failed = False
    for slug, why in _state(slugs).items():
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


def _state(slugs: Sequence[str]) -> dict[str, str | None]:
    """Each table -> why it must be filled anew, None if it need not; ValueError for one that did not come along."""
    from embodkd.evaluation.reproduce.file import read
    from embodkd.evaluation.reproduce.stale import stale
    from embodkd.evaluation.status import stored_tables

    stored = {result["slug"]: result for result in stored_tables()}
    for name in slugs:
        if name not in options("reproduce"):
            raise ValueError(f"slug: no table {name!r} came along: {near(name, options('reproduce'))}")
    return {n: stale(stored[n], read(table_file(n)), sources=True) if n in stored else "not stored" for n in slugs}


def marks(slug: str) -> dict[str, Any]:
    """What results of a table would rest on if they were made now: of a system the mark of every cell, by name."""
    if slug in options("systems"):
        from embodkd.cli.compose import resolved
        from embodkd.evaluation.chains import read_chains
        from embodkd.evaluation.tables.cell import Marks

        cells = read_chains(folder() / "systems" / f"{slug}.yaml")
        found = Marks(cells, resolved)
        return {name: dict(found.of(name)) for name in cells}
    from embodkd.evaluation.reproduce.file import read
    from embodkd.evaluation.reproduce.stale import sources_of

    table = read(table_file(slug))
    return {"config": table.config(), "sources": sources_of(table)}


def with_staleness(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The results with the key `stale`: why each is not what its file says now, None if it is."""
    from embodkd.evaluation.reproduce.file import as_written
    from embodkd.evaluation.reproduce.stale import stale

    known = options("reproduce")
    gone = "there is no such table any more"
    return [
        {**r, "stale": stale(r, as_written(table_file(r["slug"]))) if r["slug"] in known else gone} for r in results
    ]


def _system(
    slug: str,
    full: bool,
    words: list[str] | str | None,
    jobs: Jobs,
    dry_run: bool,
    run: str | None,
    out: str | None,
    stale: str | None,
) -> int:
    """Fill the tables of a whole system, or of its published scale; `words`: a cell's name contains one of them."""
    from embodkd.cli.compose import resolved
    from embodkd.evaluation.chains import listing, read_chains
    from embodkd.evaluation.tables.cell import Marks, chosen
    from embodkd.evaluation.tables.fill import check, fill
    from embodkd.evaluation.tables.rows import Rows

    file = table_file(slug, "full_systems" if full else "systems")
    cells = read_chains(file, run)
    wanted = [words] if isinstance(words, str) else words or ()
    if dry_run:
        from embodkd.cli.dry_chain import check_commands, of_first_setting, try_chain

        names = chosen(cells, wanted)
        check_commands([cells[name] for name in names])
        print(f"all {len(names)} commands of {slug} are right")
        if full:
            # those of other settings have the same networks and learners
            try_chain(file, names if wanted else of_first_setting(cells))
        return 0
    name = f"full/{slug}" if full else slug
    rows = Rows(out or Path("results", f"{name}.json"), name, cells)
    failed = 0
    if stale == "mark":
        check(cells, rows, Marks(cells, resolved))
    else:
        failed = fill(cells, rows, resolved, words=wanted, jobs=jobs, stale=stale == "remake")
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
