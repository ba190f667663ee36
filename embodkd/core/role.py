"""A role: a model with a part to play in training, the view it has, and the signals it gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from embodkd.core.fingerprint import anatomy, digest, tensors
from embodkd.core.modules.modes import evaluating, learning
from embodkd.core.modules.taps import Tap, tapped
from embodkd.core.sharded import here
from embodkd.core.signals import Signals
from embodkd.core.view import View, as_view

Part = Literal["train", "frozen", "passthrough", "ema", "snapshot"]
_PARTS = ("train", "frozen", "passthrough", "ema", "snapshot")


class Role:
    """`Role(student)` learns; `Role(teacher, "frozen")` only answers.

    part: "train" (parameters learn), "frozen" (evaluation mode, no gradient at all), "passthrough" (evaluation mode,
    parameters fixed, gradient flows through to the input), "ema" (a running average of `follow`, moved by the trainer
    after each update: average = decay * average + (1 - decay) * followed), "snapshot" (answers like "frozen", but a
    step of the recipe writes its weights, so they are checkpointed with the run: an earlier self, a pruned copy).
    Modes hold during the forward pass and are put back after it. Evaluation mode is that of every submodule; a learner
    runs as its owner left it, so that parts in evaluation mode stay so, or after `train()` if it is in evaluation mode
    as a whole.
    view: what the model is called with, see `view.as_view`; by default the groups that the model `reads`, or the
    field "input".
    output: the name of the signal when the model returns one tensor; a model that returns a mapping names its own.
    taps: signal name -> submodule name or `Tap`.
    temperature: the signal "logits" is divided by it before any term sees it.
    mode: "eval" keeps a training role's dropout and batch statistics fixed: all of it runs in evaluation mode.
    """

    def __init__(
        self,
        model: nn.Module,
        part: Part = "train",
        *,
        view: str | Sequence[str] | View | None = None,
        output: str = "logits",
        taps: Mapping[str, str | Tap] | None = None,
        temperature: float = 1.0,
        follow: nn.Module | None = None,
        decay: float = 0.999,
        mode: Literal["train", "eval"] = "train",
    ) -> None:
        if part not in _PARTS:
            raise ValueError(f"role part {part!r} is not one of {', '.join(_PARTS)}")
        if temperature <= 0:
            raise ValueError(f"a temperature must be positive, got {temperature}")
        if (part == "ema") != (follow is not None):
            raise ValueError('an "ema" role needs follow=MODEL, and only an "ema" role has it')
        if not 0.0 <= decay <= 1.0:
            raise ValueError(f"decay must lie in [0, 1], got {decay}")
        self.model, self.part, self.output, self.temperature = model, part, output, temperature
        self.follow, self.decay, self.mode = follow, decay, mode
        self.taps = dict(taps or {})
        self._unwritten: set[Any] = set()
        self.view = as_view(view if view is not None else getattr(model, "reads", "input"))
        self._compiled: Any = None
        # What a pass runs inside, where the model lies in parts among several processes.
        self.within: Any = None
        # A missing submodule is an error now, not at the first batch.
        with tapped(model, self.taps):
            pass

    @property
    def trains(self) -> bool:
        """Whether this role's parameters are learned."""
        return self.part == "train"

    @property
    def fixed(self) -> bool:
        """Whether it answers the same about the same batch all through a stage, and without gradient."""
        return self.part in ("frozen", "snapshot")

    def parameters(self) -> list[nn.Parameter]:
        """What an optimiser may move: nothing unless the part is "train"."""
        return [p for p in self.model.parameters() if p.requires_grad] if self.trains else []

    def fingerprint(self) -> dict[str, str]:
        """Digests of everything that its answers depend on, by name."""
        trained = self.trains and self.mode == "train"
        parts = {
            "weights": tensors(self.model),
            "architecture": anatomy(self.model),
            "view": self.view,
            "taps": self.taps,
            "output": self.output,
            "temperature": float(self.temperature),
            "mode": [module.training for module in self.model.modules()] if trained else "eval",
        }
        return {name: digest(part, f"the role's {name}") for name, part in parts.items()}

    def signals(self, batch: Signals, parameters: Mapping[str, Tensor] | None = None) -> Signals:
        """Run the model on its view of `batch`; the signals it gives, taps included.

        With `parameters` (by name) it runs as if it had these, and its buffers, such as running statistics, stay.
        """
        # Two roles may share modules (a critic that learns and judges, heads on one trunk): each pass has its own mode.
        mode = learning(self.model) if self.trains and self.mode == "train" else evaluating(self.model)
        context = torch.no_grad() if self.part in ("frozen", "ema", "snapshot") else nullcontext()
        with mode, context:
            run = partial(self._pass, batch, parameters)
            return Signals(run() if self.within is None else self.within(run))

    def _pass(self, batch: Signals, parameters: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        with tapped(self.model, self.taps, self._unwritten, batch) as captured:
            if parameters is None:
                answer = (self.model if self._compiled is None else self._compiled)(self.view(batch))
            else:
                buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
                answer = functional_call(self.model, {**buffers, **parameters}, (self.view(batch),))
        named: dict[str, Any] = {self.output: answer} if isinstance(answer, Tensor) else dict(answer)
        if self.temperature != 1.0 and "logits" in named:
            named["logits"] = named["logits"] / self.temperature
        return {**named, **captured}

    def compile(self) -> None:
        """Run the forward pass through torch.compile from now on; with taps nothing changes, they are hooks."""
        if not self.taps and self._compiled is None:
            self._compiled = torch.compile(self.model)

    @torch.no_grad()
    def follow_step(self) -> None:
        """Move an "ema" role one step towards the model that it follows; its buffers are copied."""
        if self.follow is None:
            return
        followed = dict(self.follow.named_parameters())
        for name, average in self.model.named_parameters():
            here(average).lerp_(here(followed[name]).to(average.dtype), 1.0 - self.decay)
        buffers = dict(self.follow.named_buffers())
        for name, buffer in self.model.named_buffers():
            buffer.copy_(buffers[name])


def roles_of(answerer: Any) -> Iterator[Role]:
    """The roles by which an answerer answers: itself, or those that its method `roles` names."""
    if isinstance(answerer, Role):
        yield answerer
    elif hasattr(answerer, "roles"):
        yield from answerer.roles()
