"""A cache of emoji as small as it gets, in place of what `embodkd data get emoji` fetches."""

from __future__ import annotations

from pathlib import Path

import torch

from embodkd.core.runs.files import write_json, write_tensors


def concepts(cache: Path) -> None:
    """Forty concepts, each a colour in two styles, in a folder for EMBODKD_CACHE."""
    folder = cache / "emoji"
    folder.mkdir(parents=True)
    concept = torch.arange(40).repeat_interleave(2)
    images = torch.stack([6 * concept, concept, 255 - concept], 1).byte()[:, :, None, None].expand(-1, 3, 64, 64)
    fields = {"concept": concept, "style": concept % 2, "group": concept * 0, "subgroup": concept % 4}
    write_tensors(folder / "data.safetensors", {"images": images.contiguous(), **fields})
    named = [{"label": f"thing {k}", "tags": ["some", "thing"]} for k in range(40)]
    write_json(
        folder / "origin.json", {"groups": ["a", "component", "flags"], "subgroups": list("abcd"), "concepts": named}
    )
