"""Text drawn from a language model token by token, each draw a function of its key and not of its neighbours."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core.config.ranges import Count, NotNegative, Some, Whole
from embodkd.core.modules.modes import evaluating
from embodkd.core.sources.ragged import EndToEnd
from embodkd.core.sources.source import item_seeds


class Writer(Protocol):
    """What a text is drawn from: a model that says, given some tokens and what it remembers, what may come next."""

    def next_logits(self, tokens_NT: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The logits (N, V) of the token after these, and the state after them.

        tokens_NT: int64, those that are new since `state`, which is None before the first.
        """
        ...


class Cached:
    """A causal language model of transformers, which remembers keys and values (or a state, as Mamba does)."""

    def __init__(self, model: nn.Module) -> None:
        known = _arguments(model)
        if "decoder_input_ids" in known:
            raise ValueError(
                f"a {type(model).__name__} has an encoder, and only it reads the prompt: give an object with "
                "next_logits() that calls it"
            )
        self.model = model
        self._memory = next(name for name in _MEMORIES if name in known)
        self._options = {"use_cache": True, **({"logits_to_keep": 1} if "logits_to_keep" in known else {})}

    def next_logits(self, tokens_NT: Tensor, state: Any) -> tuple[Tensor, Any]:
        """See Writer."""
        answer = self.model(input_ids=tokens_NT, **{self._memory: state}, **self._options)
        return answer.logits[:, -1], answer[self._memory]


class Uncached:
    """Any model from tokens (N, T) to logits (N, T, V), alone or as "logits": it reads all of them again each time."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def next_logits(self, tokens_NT: Tensor, state: Any) -> tuple[Tensor, Any]:
        """See Writer."""
        seen_NT = tokens_NT if state is None else torch.cat([state, tokens_NT], 1)
        answer = self.model(seen_NT)
        return (answer if isinstance(answer, Tensor) else answer["logits"])[:, -1], seen_NT


def as_writer(model: Any) -> Writer:
    """`model` itself if it has `next_logits`, else what remembers of it as much as it can."""
    if hasattr(model, "next_logits"):
        return model
    if not isinstance(model, nn.Module):
        raise ValueError(f"a {type(model).__name__} writes no text: give a model, or something with next_logits()")
    return Cached(model) if set(_MEMORIES) & set(_arguments(model)) else Uncached(model)


# what transformers calls a memory, in this order of its versions
_MEMORIES = ("cache", "past_key_values")


def _arguments(model: nn.Module) -> list[str]:
    return list(inspect.signature(model.forward).parameters)


@dataclass(frozen=True)
class Completions:
    """What was written to N prompts: tokens end to end, the logarithms of the probabilities that they were drawn by, as
    many, and whether each text came to its stop token, which is then its last, bool (N,)."""

    tokens: EndToEnd
    logprobs: EndToEnd
    stopped_N: np.ndarray


@dataclass(frozen=True)
class Decoding:
    """How text is drawn.

    longest: tokens of a completion at most, the stop token included. temperature: the logits are divided by it; 0
    takes the likeliest token. top_p: only the likeliest tokens are drawn that have this much probability together, the
    one that crosses it included. stop: the token that ends a text; None writes `longest` tokens.
    batch_size: prompts at a time.

    No padding ever gets to the model: the prompts of a batch begin at the same place, where the shorter ones are
    through they go on with what they draw while the longer ones are still read. So what is written does not depend on
    which prompts are beside it, but for the last bits of the model's products.
    """

    longest: Count = 128
    temperature: NotNegative = 1.0
    top_p: Some = 1.0
    stop: Whole | None = None
    batch_size: Count = 64

    def log_probs(self, logits_NV: Tensor) -> Tensor:
        """The logarithms of what is drawn by, float64 (N, V)."""
        logits_NV = logits_NV.double()
        if self.temperature == 0.0:
            likeliest_N1 = logits_NV.argmax(-1, keepdim=True)
            return torch.full_like(logits_NV, -torch.inf).scatter_(-1, likeliest_N1, 0.0)
        logp_NV = torch.log_softmax(logits_NV / self.temperature, -1)
        if self.top_p == 1.0:
            return logp_NV
        sorted_NV, rank_NV = logp_NV.sort(dim=-1, descending=True, stable=True)
        before_NV = sorted_NV.exp().cumsum(-1) - sorted_NV.exp()
        dropped_NV = torch.zeros_like(before_NV, dtype=torch.bool).scatter_(-1, rank_NV, before_NV >= self.top_p)
        return torch.log_softmax(logp_NV.masked_fill(dropped_NV, -torch.inf), -1)

    def draw(self, logits_NV: Tensor, uniform_N: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens int64 (N,) and their log-probabilities float64 (N,), by numbers float64 (N,) in [0, 1)."""
        logp_NV = self.log_probs(logits_NV)
        below_NV = logp_NV.exp().cumsum(-1)
        whole_N = below_NV[:, -1]
        # below the whole, so that no token of probability 0 at the end is ever met
        wanted_N = torch.minimum(uniform_N * whole_N, torch.nextafter(whole_N, torch.zeros_like(whole_N)))
        token_N = torch.searchsorted(below_NV, wanted_N[:, None], right=True)[:, 0].clamp(max=logits_NV.shape[-1] - 1)
        return token_N, logp_NV.gather(-1, token_N[:, None])[:, 0]

    @torch.no_grad()
    def complete(self, writer: Writer, prompts: EndToEnd, key_N: np.ndarray) -> Completions:
        """Go on with each prompt; token k of number i is a function of what is before it, key_N[i] (int64) and k.

        It happens in evaluation mode where the model's parameters are. ValueError for a prompt without any token,
        FloatingPointError for logits of NaN.
        """
        length_N = prompts.lengths()
        if len(length_N) and length_N.min() < 1:
            raise ValueError(f"prompt {int(length_N.argmin())} is empty: a model needs a token to begin with")
        model = writer if isinstance(writer, nn.Module) else getattr(writer, "model", None)
        modules = [model] if isinstance(model, nn.Module) else []
        device = next((p.device for module in modules for p in module.parameters()), torch.device("cpu"))
        order = np.argsort(length_N, kind="stable")
        written: list[Any] = [None] * len(order)
        with evaluating(*modules):
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                for row, found in zip(rows, self._batch(writer, prompts, rows, key_N[rows], device), strict=True):
                    written[row] = found
        tokens, logprobs, stopped = zip(*written, strict=True)
        return Completions(EndToEnd.of(tokens), EndToEnd.of(logprobs), np.array(stopped))

    def _batch(
        self, writer: Writer, prompts: EndToEnd, rows: np.ndarray, key_n: np.ndarray, device: torch.device
    ) -> list[tuple[np.ndarray, np.ndarray, bool]]:
        length_n = prompts.lengths(rows)
        begin_n = torch.from_numpy(length_n).to(device)
        prompt_nT, _ = prompts.padded(rows, 0, int(length_n.max()) + self.longest)
        tokens_nT = torch.from_numpy(prompt_nT.astype(np.int64)).to(device)
        logp_nT = torch.zeros(tokens_nT.shape, dtype=torch.float64, device=device)
        end_n, stopped_n = begin_n + self.longest, torch.zeros_like(begin_n, dtype=torch.bool)
        state, first = None, 0
        for at in range(int(length_n.min()), tokens_nT.shape[1]):
            logits_nV, state = writer.next_logits(tokens_nT[:, first:at], state)
            uniform_n = torch.from_numpy(_uniform(key_n, np.maximum(at - length_n, 0))).to(device)
            token_n, logp_n = self.draw(logits_nV, uniform_n)
            writes_n = (begin_n <= at) & (at < end_n)
            tokens_nT[:, at] = torch.where(writes_n, token_n, tokens_nT[:, at])
            logp_nT[:, at] = torch.where(writes_n, logp_n, 0.0)
            if self.stop is not None:
                stops_n = writes_n & (token_n == self.stop)
                end_n, stopped_n = torch.where(stops_n, at + 1, end_n), stopped_n | stops_n
                if bool((end_n <= at + 1).all()):
                    break
            first = at
        if not bool(torch.isfinite(logp_nT).all()):
            raise FloatingPointError("the logits of what writes are not finite: look at its weights and at its prompts")
        ends, tokens, logps = end_n.tolist(), tokens_nT.cpu().numpy(), logp_nT.cpu().float().numpy()
        spans = [slice(begin, end) for begin, end in zip(length_n, ends, strict=True)]
        stopped = stopped_n.tolist()
        return [(tokens[k, span].copy(), logps[k, span].copy(), stopped[k]) for k, span in enumerate(spans)]


def _uniform(key_n: np.ndarray, place_n: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) for the draws at these places, float64 (n,)."""
    return (item_seeds(0, 0, place_n ^ item_seeds(1, 0, key_n)) >> 9) / 2.0**53
