"""What two towers are judged by: whether each image finds its text, each text its image, and each image its group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from embodkd.core import Pairs, Role, TensorData
from embodkd.core.config.registry import Registry
from embodkd.core.modules.modes import evaluating
from embodkd.core.ranks import ranks
from embodkd.evaluation.judgement import Judgement
from embodkd.evaluation.result import Episode

MEASURES = Registry("measure of pairs")
"""Functions (found: Retrieved) -> float, with `better=`, `unit=`; `prompts=` for those that need groups."""


@dataclass(frozen=True)
class Retrieved:
    """How many others lie before the right one: text_N a text of another concept before the own one, for each image;
    image_M an image of another concept before the nearest own one, for each concept's text; group_N another group's
    prompt before the own one. What lies level with it lies before it."""

    text_N: Tensor
    image_M: Tensor
    group_N: Tensor | None = None


def _within(rank: Tensor, k: int) -> float:
    return 100.0 * (rank < k).double().mean().item()


for _k in (1, 5, 10):

    @MEASURES.register(f"image_to_text_r{_k}", better="higher", unit="%", prompts=False)
    def _image_to_text(found: Retrieved, k: int = _k) -> float:
        """Percent of the images whose text is among the first k of all concepts' texts."""
        return _within(found.text_N, k)

    @MEASURES.register(f"text_to_image_r{_k}", better="higher", unit="%", prompts=False)
    def _text_to_image(found: Retrieved, k: int = _k) -> float:
        """Percent of the concepts' texts with an image of that concept among the first k images."""
        return _within(found.image_M, k)

    @MEASURES.register(f"r{_k}", better="higher", unit="%", prompts=False)
    def _both(found: Retrieved, k: int = _k) -> float:
        """The mean of both directions."""
        return (_within(found.text_N, k) + _within(found.image_M, k)) / 2


@MEASURES.register("zero_shot", better="higher", unit="%", prompts=True)
def zero_shot(found: Retrieved) -> float:
    """Percent of the images that are nearest to the prompt of their group."""
    assert found.group_N is not None, "asked of data with prompts"
    return _within(found.group_N, 1)


def measured(
    product: nn.Module, data: Pairs, classify: Any = None, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Every measure on the test by its name, and as `name@part` on every other part but what was trained on."""
    parts = {name: part for name, part in data.parts().items() if name != "train"}
    found: dict[str, float] = {}
    for name, part in parts.items():
        suffix = "" if name == "test" else f"@{name}"
        found |= {f"{key}{suffix}": value for key, value in _measures(retrieved(product, data, part, device)).items()}
    return found


def judgement(model: nn.Module, data: Pairs, part: str, device: torch.device | str) -> Judgement:
    """Judge `model` image by image: one succeeds if its own text lies before the texts of all other concepts."""
    judged = data.part(part)
    found = retrieved(model, data, judged, device)
    rows = zip(judged.fields["sample_id"].tolist(), found.text_N.tolist(), strict=True)
    outcomes = tuple(
        Episode(item, before == 0, None if before == 0 else "another text is nearer", -float(before), 1)
        for item, before in rows
    )
    success = "the own text is nearer than that of any other concept"
    return Judgement(outcomes, success, _measures(found))


@torch.no_grad()
def retrieved(
    product: Any, data: Pairs, part: TensorData, device: torch.device | str = "cpu", batch_size: int = 256
) -> Retrieved:
    """Where `product` in evaluation mode finds what belongs together in a part of `data`.

    A concept's text is that of its item with the smallest sample id. Of several ranks each must call this and asks for
    its share of the batches; all get the whole.
    """
    role = Role(product.to(device), "frozen")
    pieces = []
    for start in ranks().share(range(0, part.size(), batch_size)):
        batch = part.gather(np.arange(start, min(start + batch_size, part.size())), 0).to(device)
        s = role.signals(batch)
        pieces.append((s.image_ND.double().cpu(), s.text_ND.double().cpu()))
    image_ND, text_ND = (torch.cat(column) for column in zip(*ranks().merged(pieces), strict=True))
    concept_N = part.fields["concept"]
    order_N = part.fields["sample_id"].argsort()
    concept_M = concept_N.unique()
    first_M = torch.stack([order_N[concept_N[order_N] == concept][0] for concept in concept_M])
    cosine_NM = image_ND @ text_ND[first_M].T
    own_NM = concept_N[:, None] == concept_M
    group_N = None
    if data.prompts is not None:
        with evaluating(product):
            prompts = {name: value.to(device) for name, value in data.prompts.items()}
            prompt_GD = normalize(product.text_of(prompts), dim=1).double().cpu()
        group_N = before(image_ND @ prompt_GD.T, part.fields["group"][:, None] == torch.arange(len(prompt_GD)))
    return Retrieved(before(cosine_NM, own_NM), before(cosine_NM.T, own_NM.T), group_N)


def before(score_NK: Tensor, own_NK: Tensor) -> Tensor:
    """How many that are not one's own score at least as high as the best own one, (N,)."""
    best_N1 = score_NK.masked_fill(~own_NK, -torch.inf).amax(1, keepdim=True)
    return ((score_NK >= best_N1) & ~own_NK).sum(1)


def _measures(found: Retrieved) -> dict[str, float]:
    names = [name for name in MEASURES if found.group_N is not None or not MEASURES.metadata(name)["prompts"]]
    return {name: MEASURES.get(name)(found) for name in names}
