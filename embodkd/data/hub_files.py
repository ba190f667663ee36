"""Which parquet files of a data set of the hub hold which split, as the set itself says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embodkd.core.config.registry import near
from embodkd.core.runs.reading import yaml_of

# train-00000-of-00002.parquet, train-00000-of-00002-0123456789abcdef.parquet, train_0.parquet, train.parquet
_SHARD = re.compile(r"[-_]\d+(-of-\d+)?(-[0-9a-f]{16})?$")
Files = dict[str, list[Path]]


def fetched(repo: str, revision: str, name: str) -> Path:
    """The folder of the parquet files: `repo` itself if it is one, or the hub's cache."""
    if Path(repo).is_dir():
        return Path(repo)
    try:
        from huggingface_hub import snapshot_download

        wanted = ["*.parquet", "README.md"]
        return Path(snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns=wanted))
    except OSError as error:
        raise ValueError(f"data {name}: {repo} cannot be had from the hub ({error}); give a folder instead") from error


def split_files(folder: Path, config: str | None, where: str) -> Files:
    """Split -> its files, in the order of their names.

    The front matter of README.md says it, or else the names: a file belongs to the split that it is called by, or,
    called by a number alone, that its folder is; the folder above is the configuration. ValueError if there are several
    configurations and `config` chooses none of them.
    """
    found = _by_card(folder) or _by_name(folder)
    if not found:
        raise ValueError(f"{where}: {folder} has no parquet files")
    if config is None and len(found) > 1:
        raise ValueError(
            f"{where}: there are {len(found)} data sets in one, {', '.join(map(repr, found))}: say which, config=..."
        )
    if config is not None and config not in found:
        raise ValueError(f"{where}: no configuration {config!r}: {near(config, found)}")
    return found[next(iter(found)) if config is None else config]


def chosen(files: Files, splits: Mapping[str, str], where: str) -> Files:
    """The files of the parts "train" and "test", each the split of that name or the one that `splits` says."""
    for part in set(splits) - {"train", "test"}:
        raise ValueError(f"{where}: splits.{part}: only train and test are read")
    parts = {}
    for part in ("train", "test"):
        name = splits.get(part, part)
        if name not in files:
            raise ValueError(
                f"{where}: has no split {name!r}, it has {', '.join(map(repr, files))}; say which is meant, for "
                f"example splits={{{part}: {next(iter(files))}}}"
            )
        parts[part] = files[name]
    return parts


def _by_name(folder: Path) -> dict[str, Files]:
    found: dict[str, Files] = {}
    for file in sorted(folder.rglob("*.parquet")):
        inside = file.relative_to(folder).parts
        if any(part.startswith(".") for part in inside):
            continue
        split, above = _SHARD.sub("", file.stem), inside[:-1]
        if split.isdigit() and above:
            split, above = above[-1], above[:-1]
        config = "/".join(part for part in above if part != "data") or "default"
        found.setdefault(config, {}).setdefault(split, []).append(file)
    return found


def _by_card(folder: Path) -> dict[str, Files]:
    """What README.md says in its front matter, {} if it says nothing of files; one marked as default stands alone."""
    card = folder / "README.md"
    parts = card.read_text(encoding="utf-8", errors="replace").split("---", 2) if card.is_file() else []
    try:
        said = yaml_of(parts[1], card) if len(parts) == 3 and not parts[0].strip() else {}
    except ValueError:
        return {}
    configs = said.get("configs")
    found = {}
    for one in configs if isinstance(configs, list) else ():
        if isinstance(one, dict) and isinstance(one.get("data_files"), list):
            found[str(one.get("config_name", "default"))] = _globbed(folder, one["data_files"])
    return {name: files for name, files in found.items() if files}


def _globbed(folder: Path, entries: Sequence[Any]) -> Files:
    files: Files = {}
    for entry in entries:
        if isinstance(entry, dict) and "split" in entry and "path" in entry:
            patterns = entry["path"] if isinstance(entry["path"], list) else [entry["path"]]
            # A pattern that leads out of the folder finds nothing.
            good = [str(p) for p in patterns if not Path(str(p)).is_absolute() and ".." not in Path(str(p)).parts]
            matched = sorted({file for p in good for file in folder.glob(p) if file.suffix == ".parquet"})
            if matched:
                files[str(entry["split"])] = matched
    return files
