"""`embodkd reproduce`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embodkd.cli.keys import folder, options
from embodkd.core.config.registry import near

_STALE = ("mark", "remake")


def reproduce(
    slug: str | None,
    seeds: list[int] | int | None,
    arms: list[str] | str | None,
    jobs: int,
    full: bool,
    stale: str | None,
    dry_run: bool,
    run: str | None,
    out: str | None,
    trainer: Mapping[str, Any],
    quiet: bool,
) -> int:
    """Fill a table and print it; without a slug list the tables. The exit code is 1 if one of its claims fails."""
    if stale not in (None, *_STALE):
        raise ValueError(f"stale={stale}: what to do about stale rows is one of {', '.join(_STALE)}, or null")
    if slug is None:
        print("\n".join(line for group in (["full"] if full else ["reproduce", "systems"]) for line in _listed(group)))
        return 0
    if slug in options("systems"):
        given = {"seeds": seeds is not None, "full": full, "trainer": any(v is not None for v in trainer.values())}
        for key in (key for key, there in given.items() if there):
            raise ValueError(
                f"{key}: {slug} is a chain of commands with keys of their own; choose its cells by words in their "
                "names, for example arms=[peg_assembly/gripper/low/0]"
            )
        return _system(slug, arms, jobs, dry_run, run, out, stale)
    from embodkd.evaluation import reproduce as tables

    file = table_file(slug, "full" if full else "reproduce")
    chosen = {key: value for key, value in trainer.items() if value is not None}
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
    return 0 if all(check["passed"] for check in result["checks"]) else 1


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
