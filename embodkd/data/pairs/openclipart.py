"""Drawings of the Open Clip Art Library 0.18 with titles and keywords, public domain, from Debian's openclipart-svg.

`embodkd data get openclipart` fetches the package, unpacks it without root and draws what it holds with resvg. Of
drawings with one title (1,375 stars are called "gramastar") the first PER_TITLE are kept; they are one concept.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from torch import Tensor

from embodkd.core import Pairs
from embodkd.core.config.ranges import Count, OpenShare, Seed, Whole
from embodkd.data.assets import ASSETS, client, load
from embodkd.data.pairs.captions import Drawings, Length, Side, Vocabulary, pairs
from embodkd.data.partition import from_package
from embodkd.data.registry import DATA

SIDE, PER_TITLE = 64, 8
DEBIAN = "openclipart-svg"
INSTALLED = Path("/usr/share/openclipart/svg")
_WORK, _TITLE, _ITEM = "{http://web.resource.org/cc/}Work", "title", "li"
_PLACES = ("hash", "theme", "icons")
"""Keywords of the collection's own folders, which say nothing of a drawing."""


@DATA.register(
    "openclipart",
    title="clip art with titles and keywords",
    licence="public domain",
    kind="pairs",
    asset="openclipart",
    module="tokenizers",
    extra="language",
)
def openclipart(
    *,
    seed: Seed = 0,
    size: Side = 32,
    keywords: Whole = 4,
    folders: Count = 30,
    length: Length = 24,
    vocabulary: Vocabulary = 1024,
    tokenizer: str | None = None,
    sentences: bool = False,
    validation: OpenShare = 0.1,
    test: OpenShare = 0.25,
) -> Pairs:
    """Images (3, size, size) in [0, 1] on white. For all other keys see `captions.pairs`.

    folders: only the drawings of the so many largest folders of the collection, which are its groups.
    """
    tensors, origin = load("openclipart")
    sizes_G = torch.bincount(tensors["group"], minlength=len(origin["folders"]))
    largest = sizes_G.argsort(descending=True, stable=True)[:folders]
    keep_N = torch.isin(tensors["group"], largest)
    drawn = Drawings(
        tensors["images"],
        tensors["concept"],
        tensors["group"],
        [concept["title"] for concept in origin["concepts"]],
        [concept["keywords"] for concept in origin["concepts"]],
        tuple(name.replace("_", " ").replace("/", " ") for name in origin["folders"]),
        "openclipart 0.18",
    )
    return pairs(
        drawn.rows(keep_N),
        keep_N.nonzero().squeeze(1),
        seed=seed,
        size=size,
        keywords=keywords,
        length=length,
        vocabulary=vocabulary,
        tokenizer=tokenizer,
        sentences=sentences,
        validation=validation,
        test=test,
        where="data openclipart",
    )


@ASSETS.register("openclipart", title="clip art with titles", size="25 MB, drawn in a few minutes")
def fetch(work: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """images (N, 3, 64, 64) uint8 and int64 concept, group (N,); titles and keywords of the concepts, the folders."""
    if INSTALLED.is_dir():
        root, source = INSTALLED, f"Debian package {DEBIAN}, installed"
    else:
        client(["apt-get", "download", DEBIAN], work)
        (package,) = work.glob("*.deb")
        client(["dpkg-deb", "-x", package.name, "root"], work)
        root, source = work / "root" / INSTALLED.relative_to("/"), f"Debian package {package.name}"
    concepts: dict[str, list[str]] = {}
    drawings: list[tuple[np.ndarray, str, str]] = []
    kept: dict[str, int] = {}
    for file in sorted(path for path in root.rglob("*.svg") if not path.is_symlink()):
        title, keywords = _said(file)
        if not title or kept.get(title, 0) == PER_TITLE:
            continue
        pixels = _draw(file)
        if pixels is None:
            continue
        kept[title] = kept.get(title, 0) + 1
        concepts.setdefault(title, []).extend(keywords)
        drawings.append((pixels, title, file.parent.relative_to(root).as_posix()))
    if not drawings:
        raise ValueError(f"{root}: holds no drawing with a title; install Debian's package {DEBIAN} anew")
    folders = sorted({folder for _, _, folder in drawings})
    numbers = {title: number for number, title in enumerate(concepts)}
    tensors = {
        "images": torch.from_numpy(np.stack([pixels for pixels, _, _ in drawings])).permute(0, 3, 1, 2).contiguous(),
        "concept": torch.tensor([numbers[title] for _, title, _ in drawings]),
        "group": torch.tensor([folders.index(folder) for _, _, folder in drawings]),
    }
    said = [{"title": title, "keywords": list(dict.fromkeys(words))} for title, words in concepts.items()]
    return tensors, {"source": [source], "licence": "public domain", "folders": folders, "concepts": said}


def _said(file: Path) -> tuple[str, list[str]]:
    """(title, keywords) of a drawing, in plain lower-case words; "" where it has none."""
    try:
        work = next((element for element in ElementTree.parse(file).iter() if element.tag == _WORK), None)
    except ElementTree.ParseError:
        return "", []
    if work is None:
        return "", []
    title = next((child.text or "" for child in work if child.tag.rpartition("}")[2] == _TITLE), "")
    words = [_plain(item.text or "") for item in work.iter() if item.tag.rpartition("}")[2] == _ITEM]
    return _plain(title.rpartition(" - ")[2]), [word for word in words if word and word not in _PLACES]


def _plain(text: str) -> str:
    """ "Clipart_by Tigre02" -> "clipart by tigre"."""
    return " ".join(re.sub(r"[\W\d_]+", " ", text).lower().split())


def _draw(file: Path) -> np.ndarray | None:
    """What is drawn, without the white around it, in the middle of a white square, (SIDE, SIDE, 3) uint8; None for what
    cannot be drawn, or is all white."""
    from PIL import Image, ImageChops

    draw = from_package("resvg_py", "openclipart").svg_to_bytes
    try:
        # sizes in millimetres have no meaning without dpi
        png = draw(svg_path=str(file), width=4 * SIDE, dpi=96, background="white", skip_system_fonts=True)
        picture = Image.open(io.BytesIO(png)).convert("RGB")
    except (ValueError, OSError):
        return None
    box = ImageChops.invert(picture).getbbox()
    if box is None:
        return None
    picture = picture.crop(box)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (SIDE, SIDE), "white")
    square.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    return np.array(square)
