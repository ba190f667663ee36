"""Tables of the published scale: images are prepared as published, or the file says otherwise and quotes no figure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from embodkd.cli.keys import folder

FULL = sorted((folder() / "full").glob("*.yaml"))
# of CIFAR-10 and CIFAR-100, as everybody has them to three places
STATISTICS = {
    "uoft-cs/cifar10": ((0.491, 0.482, 0.447), (0.247, 0.243, 0.262)),
    "uoft-cs/cifar100": ((0.507, 0.487, 0.441), (0.267, 0.256, 0.276)),
}


def models(table: Any) -> list[dict[str, Any]]:
    """The student, each teacher, and what single arms have instead."""
    others = [*table.get("teachers", {}).values(), *table["arms"].values()]
    return [table["student"], *(one[key] for one in others for key in ("model", "student") if key in one)]


def prepared(table: Any) -> bool:
    """Whether images are cropped, mirrored and normalised for every model, by the statistics of their own data set."""
    data = table["data"]
    own = {(tuple(model.get("mean", ())), tuple(model.get("std", ()))) for model in models(table)}
    return data.get("crop") == 4 and data.get("flip") is True and own == {STATISTICS[data["repo"]]}


@pytest.mark.parametrize("file", FULL, ids=lambda file: file.stem)
def test_images_are_prepared_as_published_or_no_figure_is_quoted(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    table, said = yaml.safe_load(text), " ".join(re.findall(r"#(.*)", text))
    if table["data"]["name"] != "hub_images":
        return
    quoted = re.findall(r"(?<![\d.])\d\d\.\d+(?![\d.]*\d)", said)
    assert prepared(table) or ("Images are used as they are" in said and not quoted), quoted


def test_some_tables_quote_figures() -> None:
    quoting = {file.stem for file in FULL if re.search(r"Published.*\d\d\.\d\d", file.read_text(encoding="utf-8"))}
    assert {"classics", "nd"} <= quoting
