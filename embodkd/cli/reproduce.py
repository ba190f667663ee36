"""`embodkd reproduce`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embodkd.cli.keys import folder
from embodkd.core.registry import near


def reproduce(
    slug: str | None,
    seeds: list[int] | int | None,
    arms: list[str] | str | None,
    jobs: int,
    run: str | None,
    out: str | None,
    trainer: Mapping[str, Any],
    quiet: bool,
) -> int:
    """Fill a table and print it; without a slug list the tables. The exit code is 1 if one of its claims fails."""
    if slug is None:
        print("\n".join(_listed()))
        return 0
    from embodkd.evaluation import reproduce as tables

    file = table_file(slug)
    result, whole = tables.reproduce(
        file,
        seeds=[seeds] if isinstance(seeds, int) else seeds,
        arms=[arms] if isinstance(arms, str) else arms,
        jobs=jobs,
        run=run,
        trainer={key: value for key, value in trainer.items() if value is not None},
        quiet=quiet,
    )
    print(tables.as_text(result))
    if whole or out is not None:
        print(f"written to {tables.write(result, out or Path('results', result['slug'] + '.json'))}")
    else:
        print("not written: some arms or seeds of the table are left out (out=FILE writes it anyway)")
    return 0 if all(check["passed"] for check in result["checks"]) else 1


def table_names() -> tuple[str, ...]:
    """The slugs of all tables."""
    return tuple(sorted(file.stem for file in (folder() / "reproduce").glob("*.yaml")))


def table_file(slug: str) -> Path:
    """The YAML file of a table, given its slug or the path of a file; ValueError with the nearest slugs otherwise."""
    if slug.endswith((".yaml", ".yml")):
        return Path(slug)
    if slug not in table_names():
        raise ValueError(f"reproduce: no table {slug!r}: {near(slug, table_names())}; or give the path of a YAML file")
    return folder() / "reproduce" / f"{slug}.yaml"


def _listed() -> list[str]:
    """One line per table: slug and title."""
    import yaml

    names = table_names()
    titles = {name: yaml.safe_load(table_file(name).read_text(encoding="utf-8")).get("title", "") for name in names}
    return [f"{name:<{max(map(len, names))}}  {title}" for name, title in titles.items()] or ["there are no tables"]
