"""Chunked losses are the slow ones, position by position, and hold a chunk's logits only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from rows import ROWS
from test_every_method import tried
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from embodkd.core import by_position, cross_entropy, jensen_shannon, kl
from embodkd.models import make_model
from embodkd.parts.texts.vocabulary import (
    Head,
    Headless,
    chunked_cross_entropy,
    chunked_jensen_shannon,
    chunked_kl,
)

N, T, D, E, V = 3, 5, 4, 6, 11
LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], dict[str, Any]]] = {
    "cross-entropy": (chunked_cross_entropy, cross_entropy, {}),
    "smoothed": (chunked_cross_entropy, cross_entropy, {"smoothing": 0.3}),
    "forward": (chunked_kl, kl, {}),
    "reverse, warm": (chunked_kl, kl, {"reverse": True, "temperature": 2.5}),
    "unscaled": (chunked_kl, kl, {"temperature": 2.5, "scale_by_t2": False}),
    "js": (chunked_jensen_shannon, jensen_shannon, {}),
    "js, 0.9": (chunked_jensen_shannon, jensen_shannon, {"beta": 0.9}),
}


def given(bias: bool, scale: float, size: tuple[int, int, int] = (N, T, V)) -> dict[str, Any]:
    """Hidden states, heads and labels, in float64; scale: of the logits."""
    torch.manual_seed(0)
    n, t, v = size
    made = {"dtype": torch.float64}
    heads = [nn.Linear(width, v, bias, **made) for width in (D, E)]
    hidden = [scale * torch.randn(n, t, width, **made) for width in (D, E)]
    return {"heads": heads, "hidden": [h.requires_grad_() for h in hidden], "label": torch.randint(v, (n, t))}


def slow(name: str, case: dict[str, Any]) -> Tensor:
    _, term, options = LOSSES[name]
    s, t = (head(h) for head, h in zip(case["heads"], case["hidden"], strict=True))
    return by_position(term, s, case["label"] if term is cross_entropy else t, **options)


def fast(name: str, case: dict[str, Any], **more: Any) -> Tensor:
    loss, term, options = LOSSES[name]
    s, t = ((h, Head(head.weight, head.bias)) for head, h in zip(case["heads"], case["hidden"], strict=True))
    return loss(*s, *((case["label"],) if term is cross_entropy else t), **options, **more)


def slopes(values_NT: Tensor, case: dict[str, Any], weight_NT: Tensor) -> list[Tensor | None]:
    asked = [case["hidden"][0], *case["heads"][0].parameters(), case["hidden"][1], *case["heads"][1].parameters()]
    return list(torch.autograd.grad((values_NT * weight_NT).sum(), asked, allow_unused=True))


@pytest.mark.parametrize("scale", [1.0, 1e5, 1e20])
@pytest.mark.parametrize("chunk", [1, 4, 15, 99])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_are_those_of_whole_logits(name: str, bias: bool, chunk: int, scale: float) -> None:
    case = given(bias, scale)
    weight_NT = torch.randn(N, T, dtype=torch.float64)
    here, there = slow(name, case), fast(name, case, chunk=chunk)
    torch.testing.assert_close(there, here, rtol=1e-11, atol=1e-11)
    for a, b in zip(slopes(there, case, weight_NT), slopes(here, case, weight_NT), strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert torch.isfinite(a).all()
            # the slope of a head is a difference of numbers near 1, that is rounding, times states as large as `scale`
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11 * float(b.abs().max()) + 1e-17 * min(scale, 1e5))


@pytest.mark.parametrize("name", LOSSES)
def test_what_a_mask_leaves_out_is_nothing_whatever_stands_there(name: str) -> None:
    case = given(True, 1.0)
    mask_NT = torch.rand(N, T) < 0.6
    here = torch.where(mask_NT, slow(name, case), 0.0)
    wanted = slopes(here, case, torch.ones(N, T))
    with torch.no_grad():
        for hidden in case["hidden"]:
            hidden[~mask_NT] = torch.nan
    case["label"][~mask_NT] = -100
    there = fast(name, case, chunk=4, mask=mask_NT)
    torch.testing.assert_close(there, here, rtol=1e-11, atol=1e-11)
    for a, b in zip(slopes(there, case, torch.ones(N, T)), wanted, strict=True):
        if b is not None:
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


class Largest(TorchDispatchMode):
    """The most numbers that one tensor had."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        for value in tree_leaves(answer):
            if isinstance(value, Tensor):
                self.numbers = max(self.numbers, value.numel())
        return answer


@pytest.mark.parametrize("name", LOSSES)
def test_logits_of_a_chunk_are_all_that_is_held(name: str) -> None:
    chunk, size = 8, (4, 32, 400)
    case = given(True, 1.0, size)
    with Largest() as seen:
        fast(name, case, chunk=chunk).sum().backward()
    assert seen.numbers == chunk * 400
    with Largest() as whole:
        slow(name, given(True, 1.0, size)).sum().backward()
    assert whole.numbers == 4 * 32 * 400


@pytest.mark.parametrize("name", ["gru_lm", "causal_lm"])
def test_hidden_states_are_those_that_a_whole_pass_gives_and_their_logits_too(name: str) -> None:
    if name == "causal_lm":
        pytest.importorskip("transformers", reason="extra language is not installed")
    torch.manual_seed(0)
    model = make_model(name, vocabulary=7, length=6, start=1, end=None, width=8)
    tokens_NT = torch.randint(7, (3, 6))
    signals = model(tokens_NT)
    hidden_NTD = Headless(model)(tokens_NT)["hidden"]
    assert torch.equal(hidden_NTD, signals["hidden"])
    torch.testing.assert_close(Head.of(model)(hidden_NTD), signals["logits"])
    assert not model.head._forward_pre_hooks


def test_a_model_without_a_linear_head_is_refused() -> None:
    with pytest.raises(ValueError, match="linear `head`, not .*Sequential"):
        Head.of(nn.Sequential())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sequence_kd", {}),
        ("teacher_hacking", {}),
        ("teacher_hacking", {"divergence": "reverse"}),
        ("teacher_hacking", {"divergence": "js", "beta": 0.3}),
    ],
)
def test_a_method_learns_the_same_in_chunks(name: str, options: dict[str, Any]) -> None:
    def trained(chunk: int) -> dict[str, Tensor]:
        made = tried(name, ROWS[name], method={**ROWS[name].arguments, **options, "chunk": chunk})
        return made.train(precision="float64").student.state_dict()

    whole, chunked = trained(0), trained(5)
    for key, value in whole.items():
        torch.testing.assert_close(chunked[key], value, rtol=1e-9, atol=1e-9)


def test_liger_kernel_says_the_same() -> None:
    liger = pytest.importorskip("liger_kernel.transformers", reason="liger-kernel is not installed")
    if not torch.cuda.is_available():
        pytest.skip("liger-kernel needs a card")
    case = given(True, 1.0)
    head, hidden_NTD, label_NT = case["heads"][0].float().cuda(), case["hidden"][0].float().cuda(), case["label"].cuda()
    fused = liger.LigerFusedLinearCrossEntropyLoss()
    theirs = fused(head.weight, hidden_NTD.flatten(0, 1), label_NT.flatten(), head.bias)
    ours = chunked_cross_entropy(hidden_NTD, Head(head.weight, head.bias), label_NT).mean()
    torch.testing.assert_close(ours, theirs)
