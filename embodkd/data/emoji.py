"""6,903 colour pictures: 1,868 emoji in up to four drawing styles (Noto, Twemoji, OpenMoji, Fluent), 100 subgroups.

Small, coloured, long-tailed (4 to 463 pictures per subgroup) and with a true shift of domain, the style. Parts are
split by concept: the same emoji in another style is never on the other side. `embodkd data get emoji` takes the
drawings from npm packages and draws them with resvg.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from embodkd.core import Splits, TensorData
from embodkd.core.config.ranges import OpenShare, Seed, Severity
from embodkd.core.config.registry import near
from embodkd.core.sources.splits import Items
from embodkd.data.assets import ASSETS, load, npm_member
from embodkd.data.partition import by_concept, corrupted, from_package, take
from embodkd.data.registry import DATA

SIDE = 64
NAMES = (
    "emojibase-data",
    "17.0.0",
    "sha512-Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
)
STYLES = {
    "noto": (
        "@iconify-json/noto",
        "1.2.9",
        "sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
    ),
    "twemoji": (
        "@iconify-json/twemoji",
        "1.2.5",
        "sha512-uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==",
    ),
    "openmoji": (
        "@iconify-json/openmoji",
        "1.2.29",
        "sha512-vXdhkqcXVSO6suy+m9LbcUM3OdVyuNOtpV8/als/WqfkQIRxevL5Geb/g+6GH/Qwnq1OqksEmaDGTCmZ5nFKJQ==",
    ),
    "fluent": (
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
    ),
}
LICENCES = "Noto Apache-2.0, Twemoji CC-BY-4.0, OpenMoji CC-BY-SA-4.0, Fluent MIT, names MIT"


@DATA.register(
    "emoji", title="colour emoji in four styles, up to 64 x 64, 9 or 100 classes", licence=LICENCES, asset="emoji"
)
def emoji(
    *,
    seed: Seed = 0,
    label: Literal["group", "subgroup"] = "group",
    size: Literal[16, 32, 64] = 32,
    unseen: str = "",
    validation: OpenShare = 0.15,
    test: OpenShare = 0.25,
    corruptions: Mapping[str, Severity] | None = None,
) -> Splits:
    """Splits with inputs (3, size, size) in [0, 1] on white, and the fields `concept`, `style`, `group`, `subgroup`.

    label: "group" has 9 classes (hair and skin components, 21 pictures, are left out), "subgroup" 100. unseen: a
    style that is kept out of all three splits; the test's concepts in it are extra["unseen"]. validation, test: these
    shares of the concepts, with all their pictures. corruptions: see `partition.corrupted`.
    """
    tensors, origin = load("emoji")
    if unseen and unseen not in STYLES:
        raise ValueError(f"data emoji: no style {unseen!r}: {near(unseen, STYLES)}")
    images_N3HW = tensors["images"].float() / 255.0
    fields = {
        "input": functional.avg_pool2d(images_N3HW, SIDE // size),
        **{name: tensors[name] for name in ("concept", "style", "group", "subgroup")},
        "sample_id": torch.arange(len(images_N3HW)),
    }
    fields["label"] = fields[label]
    names = list(origin[f"{label}s"])
    if label == "group":
        # Classes keep the order of the groups; what lies behind the gap moves up by one.
        gap = origin["groups"].index("component")
        fields = {name: value[fields["group"] != gap] for name, value in fields.items()}
        fields["label"] = fields["label"] - (fields["label"] > gap).long()
        del names[gap]
    rows = by_concept(fields["concept"], fields["label"], validation, test, seed, "data emoji")
    seen = (fields["style"] != (list(STYLES).index(unseen) if unseen else -1)).numpy()
    parts = {name: take(fields, part[seen[part]]) for name, part in rows.items()}
    extra: dict[str, TensorData] = {"unseen": take(fields, rows["test"][~seen[rows["test"]]])} if unseen else {}
    copies = corrupted(parts["test"], corruptions or {}, seed, len(images_N3HW))
    # A picture's sample id is its place among all that were drawn.
    items = {name: data.fields["sample_id"] for name, data in (parts | extra).items()}
    return Splits(
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        classes=len(names),
        shape=(3, size, size),
        extra=extra | copies,
        names=tuple(names),
        items=Items("emoji", items | dict.fromkeys(copies, items["test"])),
    )


@ASSETS.register("emoji", title="four emoji sets", size="14 MB, drawn in half a minute")
def fetch(work: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """images (N, 3, 64, 64) uint8 and int64 concept, style, group, subgroup (N,); names of all of these as origin."""
    data, groups = npm_member(*NAMES, ["en/data.json", "meta/groups.json"], work)
    named = {_icon_name(entry["label"]): entry for entry in json.loads(data) if "group" in entry}
    numbers = {name: number for number, name in enumerate(named)}
    rows: dict[str, list[int]] = {"concept": [], "style": [], "group": [], "subgroup": []}
    images = []
    for number, (style, package) in enumerate(STYLES.items()):
        (drawings,) = npm_member(*package, ["icons.json"], work)
        found = json.loads(drawings)
        for name in sorted(found["icons"].keys() & named.keys(), key=numbers.__getitem__):
            images.append(_draw(found, name))
            values = (numbers[name], number, named[name]["group"], named[name]["subgroup"])
            for field, value in zip(rows, values, strict=True):
                rows[field].append(value)
        assert rows["style"].count(number), f"no drawing of {style} has a name"
    meta = json.loads(groups)
    origin = {
        "source": [f"{package}@{version}" for package, version, _ in (NAMES, *STYLES.values())],
        "licence": LICENCES,
        "styles": list(STYLES),
        "groups": list(meta["groups"].values()),
        "subgroups": list(meta["subgroups"].values()),
        "concepts": [{"label": e["label"], "tags": e.get("tags", [])} for e in named.values()],
    }
    tensors = {name: torch.tensor(value) for name, value in rows.items()}
    return {"images": torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), **tensors}, origin


def _icon_name(label: str) -> str:
    """How icon sets spell an emoji's name: "woman’s hat" -> "womans-hat"."""
    return label.lower().replace(" ", "-").translate(str.maketrans("", "", ":,'’"))


def _draw(icons: Mapping[str, Any], name: str) -> np.ndarray:
    """One icon on white, in the middle of a square, (SIDE, SIDE, 3) uint8."""
    from PIL import Image

    icon = icons["icons"][name]
    sides = {"left": 0, "top": 0, "width": 16, "height": 16}
    left, top, width, height = (icon.get(key, icons.get(key, default)) for key, default in sides.items())
    side = max(width, height)
    box = f"{left - (side - width) / 2} {top - (side - height) / 2} {side} {side}"
    opening = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = f'{opening} viewBox="{box}">{icon["body"]}</svg>'
    draw = from_package("resvg_py", "emoji").svg_to_bytes
    png = draw(svg_string=svg, width=SIDE, height=SIDE, background="white", skip_system_fonts=True)
    return np.array(Image.open(io.BytesIO(png)).convert("RGB"))
