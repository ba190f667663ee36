"""The colours of curves and bars are told apart by all eyes, and texts are read on what they stand on."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import embodkd.evaluation.report

CSS = (Path(embodkd.evaluation.report.__file__).parent / "page.css").read_text(encoding="utf-8")
# What the eye makes of linear RGB: Machado, Oliveira and Fernandes, 2009, severity 1.
EYES = {
    "most": np.eye(3),
    "protan": np.array([
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ]),
    "deutan": np.array([
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ]),
    "tritan": np.array([
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ]),
}  # fmt: skip
LEAST_APART = 12.0
"""CIEDE2000; 2.3 can just be seen side by side."""


def colours(dark: bool) -> dict[str, np.ndarray]:
    """Each colour of the page by its name, as shares of red, green and blue."""
    light, dark_ones = CSS.split("prefers-color-scheme: dark", 1)
    text = dark_ones.partition("\n} }")[0] if dark else light
    found = re.findall(r"--([\w-]+): #([0-9a-f]{6})", text)
    return {name: np.array([int(value[i : i + 2], 16) / 255 for i in (0, 2, 4)]) for name, value in found}


def linear(colour: np.ndarray) -> np.ndarray:
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def seen(colour: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """The colour in CIELAB as such an eye sees it."""
    from skimage.color import rgb2lab

    light = np.clip(eye @ linear(colour), 0, 1)
    again = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return rgb2lab(again)


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """WCAG's."""
    low, high = sorted(float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("among_others", [False, True], ids=["few", "many"])
@pytest.mark.parametrize("eye", EYES)
def test_any_two_colours_of_series_are_told_apart_by(eye: str, among_others: bool, dark: bool) -> None:
    color = pytest.importorskip("skimage.color")
    series = {name: seen(value, EYES[eye]) for name, value in colours(dark).items() if re.fullmatch(r"c\d", name)}
    assert len(series) == 6
    if among_others:
        series = {**series, "other": seen(colours(dark)["other"], EYES[eye])}
        del series["c2"]
    apart = {(a, b): color.deltaE_ciede2000(series[a], series[b]) for a, b in combinations(series, 2)}
    closest = min(apart, key=lambda pair: apart[pair])
    assert apart[closest] >= LEAST_APART, f"{closest}: {apart[closest]:.1f}"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_lines_and_letters_stand_out_from_what_is_behind_them(dark: bool) -> None:
    named = colours(dark)
    for name, least, behind in (
        *((f"c{n}", 3.0, ("card",)) for n in range(6)),
        ("other", 3.0, ("card",)),
        *((name, 4.5, ("paper", "card", "well")) for name in ("ink", "soft")),
        ("faint", 4.5, ("paper", "card")),
        ("secret", 4.5, ("secret-bg",)),
        ("open", 4.5, ("open-bg",)),
    ):
        for ground in behind:
            assert contrast(named[name], named[ground]) >= least, (name, ground)
