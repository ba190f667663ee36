"""What a language model is judged by: how likely it finds texts, and how many prompts it answers rightly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core import Role, Signals, TensorData, Texts, by_position, cross_entropy
from embodkd.core.config.registry import Registry
from embodkd.core.modules.modes import evaluating
from embodkd.core.ranks import ranks
from embodkd.evaluation.decoding import answered
from embodkd.evaluation.judgement import Judgement
from embodkd.evaluation.result import Episode

MEASURES = Registry("measure of language")
"""Functions (told: Told) -> float, with `better=`, `unit=`; `checked=` for those of texts with right answers."""

SAMPLES = 8
_NUMBERS = 2**24
"""Logits that are held at once."""


@dataclass(frozen=True)
class Told:
    """What a model says of N texts: nll_N the sum over the tokens that count, tokens_N how many these are, last_N
    whether the last of them is the likeliest one; solved_N by the likeliest tokens, sampled_NK by K draws."""

    nll_N: Tensor
    tokens_N: Tensor
    last_N: Tensor
    solved_N: Tensor | None = None
    sampled_NK: Tensor | None = None


@MEASURES.register("nll", better="lower", unit="nats per token", checked=False)
def nll(told: Told) -> float:
    """The mean of -log p over all tokens that count, each given those before it."""
    return (told.nll_N.sum() / told.tokens_N.sum()).item()


@MEASURES.register("perplexity", better="lower", unit="", checked=False)
def perplexity(told: Told) -> float:
    """exp(nll)."""
    mean = nll(told)
    return math.exp(mean) if mean < 700 else math.inf


@MEASURES.register("pass_at_1", better="higher", unit="%", checked=True)
def pass_at_1(told: Told) -> float:
    """Percent of the prompts that are answered rightly by the likeliest tokens."""
    assert told.solved_N is not None, "asked of texts with right answers"
    return 100.0 * told.solved_N.double().mean().item()


@MEASURES.register("sampled", better="higher", unit="%", checked=True)
def sampled(told: Told) -> float:
    """Percent of the drawn answers that are right, SAMPLES for each prompt, at temperature 1."""
    assert told.sampled_NK is not None, "asked of texts with right answers"
    return 100.0 * told.sampled_NK.double().mean().item()


@MEASURES.register("pass_at_8", better="higher", unit="%", checked=True)
def pass_at_8(told: Told) -> float:
    """Percent of the prompts of which at least one of 8 drawn answers is right."""
    assert told.sampled_NK is not None, "asked of texts with right answers"
    return 100.0 * passed(told.sampled_NK, 8)


def passed(right_NK: Tensor, tries: int) -> float:
    """pass@k of K >= k draws, without bias: the mean of 1 - C(K - c, k) / C(K, k), c of a prompt's draws being right.

    Source: Chen et al. 2021 (arXiv:2107.03374), eq. 1.
    """
    draws = right_NK.shape[1]
    missed = [math.comb(draws - int(c), tries) / math.comb(draws, tries) for c in right_NK.sum(1)]
    return 1.0 - math.fsum(missed) / len(missed)


def measured(
    product: nn.Module, data: Texts, classify: Any = None, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Every measure on the test by its name, and as `name@part` on every other part; right answers on the test only.

    ValueError for a product that does not give one logit per token of the data.
    """
    found: dict[str, float] = {}
    for part in data.parts():
        told = answers(product, data, part, device, solve=data.check is not None and part == "test")
        suffix = "" if part == "test" else f"@{part}"
        found |= {f"{name}{suffix}": value for name, value in _measures(told).items()}
    return found


def judgement(model: nn.Module, data: Texts, part: str, device: torch.device | str) -> Judgement:
    """Judge `model` text by text: where answers can be checked, one succeeds if the likeliest tokens are a right one;
    elsewhere if its last token is the likeliest one there."""
    judged = data.part(part)
    told = answers(model, data, part, device, solve=data.check is not None)
    success = "the last token is the likeliest one" if told.solved_N is None else "the likeliest tokens answer rightly"
    failure = "another last token is likelier" if told.solved_N is None else "the answer is not right"
    good_N = told.last_N if told.solved_N is None else told.solved_N
    rows = zip(judged.fields["sample_id"].tolist(), good_N.tolist(), told.nll_N.tolist(), strict=True)
    outcomes = tuple(Episode(item, good, None if good else failure, -nats, 1) for item, good, nats in rows)
    return Judgement(outcomes, success, _measures(told))


@torch.no_grad()
def answers(
    product: nn.Module,
    data: Texts,
    part: str = "test",
    device: torch.device | str = "cpu",
    *,
    solve: bool = False,
    seed: int = 0,
) -> Told:
    """What `product` says of a part of `data` in evaluation mode; solve: it answers the prompts, too.

    Of several ranks each must call this and asks for its share of the batches; all get the whole.
    """
    judged, role = data.part(part), Role(product.to(device), "frozen", view="tokens")
    size = max(1, min(256, _NUMBERS // (data.length * data.vocabulary)))
    pieces = []
    for start in ranks().share(range(0, judged.size(), size)):
        rows = np.arange(start, min(start + size, judged.size()))
        with evaluating(product):
            pieces.append(_told(product, role, data, judged, rows, device, seed if solve else None))
    columns: Any = zip(*ranks().merged(pieces), strict=True)
    whole: Any = [None if column[0] is None else torch.cat(column) for column in columns]
    return Told(*whole)


def _told(
    product: Any,
    role: Role,
    data: Texts,
    judged: TensorData,
    rows: np.ndarray,
    device: torch.device | str,
    seed: int | None,
) -> tuple[Tensor | None, ...]:
    batch: Signals = judged.gather(rows, 0).to(device)
    tokens_NT, mask_NT = batch.tokens_NT, batch.mask_NT
    logits_NTV = role.signals(batch)["logits"]
    if logits_NTV.shape != (*tokens_NT.shape, data.vocabulary):
        raise ValueError(
            f"{type(product).__name__} gives logits of shape {tuple(logits_NTV.shape)} where "
            f"{(*tokens_NT.shape, data.vocabulary)} is needed, one for each token at each place"
        )
    nll_NT = torch.where(mask_NT, by_position(cross_entropy, logits_NTV, tokens_NT), 0.0)
    last_N = mask_NT.shape[1] - 1 - mask_NT.flip(1).int().argmax(1)
    each_N = torch.arange(len(rows), device=tokens_NT.device)
    likely_N = logits_NTV[each_N, last_N].argmax(-1) == tokens_NT[each_N, last_N]
    found = (nll_NT.double().sum(1).cpu(), mask_NT.sum(1).cpu(), likely_N.cpu())
    if seed is None:
        return (*found, None, None)
    if not hasattr(product, "next_logits"):
        raise ValueError(f"{type(product).__name__} cannot go on with a prompt: it needs a method next_logits")

    def solved(**draw: Any) -> Tensor:
        prompt_N, ids_N = batch.prompt_N, batch.sample_id_N
        own_NT = answered(product, tokens_NT, prompt_N, ids_N, end=data.end, pad=data.pad, **draw)
        return data.solved(own_NT, prompt_N.cpu())

    tries = [solved(temperature=1.0, seed=seed + k) for k in range(SAMPLES)]
    return (*found, solved(), torch.stack(tries, 1))


def _measures(told: Told) -> dict[str, float]:
    names = [name for name in MEASURES if told.solved_N is not None or not MEASURES.metadata(name)["checked"]]
    return {name: MEASURES.get(name)(told) for name in names}
