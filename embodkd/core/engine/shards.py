"""A recipe's models shared out among the processes: each holds a part of every parameter, and all of one block at work.

torch's FSDP2 does it: a block's parameters are gathered when its pass begins, gradients are summed where their part
lies, and what an optimiser remembers of a part lies there too. Sums over processes make the update that one process
would make, as they do where every process holds everything.
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from embodkd.core.batch.sums import all_sum, start_alike
from embodkd.core.engine.members import roles
from embodkd.core.recipe import Recipe
from embodkd.core.role import Role
from embodkd.core.sharded import here, is_sharded

T = TypeVar("T")
Shard = Literal["student", "teachers", "all"]
LEARN, ANSWER = ("train", "ema", "snapshot"), ("frozen", "passthrough")
"""The parts of roles that "student" and "teachers" mean."""

_OWN = ("_parameters", "_buffers", "_modules")
_HOOKS = tuple(name for name, value in vars(nn.Module()).items() if isinstance(value, dict) and name not in _OWN)
_MIXED = "mixed torch.Tensor and DTensor"


class Gathered(nn.Module):
    """What a pass of a model runs inside, so that all that is read of it on the way belongs to what it gives.

    A loss that hangs on a tapped layer alone then still ends with sums of gradients.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._parts: list[Any] = []

    def forward(self, call: Callable[[], T]) -> T:
        """What `call` gives."""
        return call()

    def rest(self) -> None:
        """Let go of what other processes' parts were gathered: they are about to change."""
        for part in self._parts:
            part.reshard()


class Shards:
    """The models of a recipe's roles, shared out; `whole` makes ordinary ones of them again.

    which: "student" is all that learns or follows what learns, "teachers" all that only answers, "all" both. Helpers
    and single numbers stay whole on every process. ValueError where two of these models have parameters in common.
    """

    def __init__(self, recipe: Recipe, which: Shard, device: torch.device) -> None:
        from torch.distributed.device_mesh import init_device_mesh

        from embodkd.core.ranks import join

        meant = {"student": LEARN, "teachers": ANSWER, "all": LEARN + ANSWER}[which]
        self._roles = [role for role in roles(recipe) if role.part in meant]
        if not self._roles:
            raise ValueError(f"trainer.shard={which}: the recipe has none: set it to null, or to student")
        by_model: dict[nn.Module, list[Role]] = {}
        for role in self._roles:
            by_model.setdefault(role.model, []).append(role)
        _check_apart(list(by_model), which)
        mesh = init_device_mesh(device.type, (join().get_world_size(),))
        self._before = {module: _facts(module) for model in by_model for module in model.modules()}
        # Nobody here works in place on what a model gives.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
        for model, own in by_model.items():
            within = _share_out(model, own, mesh)
            for role in own:
                role.within = within

    def whole(self) -> None:
        """Every model as it was, with all its parameters on every process, on the CPU."""
        made: dict[Tensor, nn.Parameter] = {}
        for role in self._roles:
            if role.within is not None:
                role.within.rest()
            role.within = None
        for module, (kind, keys, hooks) in self._before.items():
            for name, parameter in module._parameters.items():
                if parameter is not None and is_sharded(parameter):
                    if parameter not in made:
                        full = parameter.detach().full_tensor().cpu()  # type: ignore[attr-defined] # DTensor's
                        made[parameter] = nn.Parameter(full, parameter.requires_grad)
                    module._parameters[name] = made[parameter]
            module.__class__ = kind
            for name in vars(module).keys() - keys:
                del vars(module)[name]
            vars(module).update(hooks)


@contextmanager
def only_through_passes() -> Iterator[None]:
    """Inside, who reads a parameter past its model's pass gets a ValueError that says so."""
    try:
        yield
    except RuntimeError as error:
        if _MIXED not in str(error):
            raise
        raise read_aside() from error


def read_aside() -> ValueError:
    """What is wrong where a term, a helper or a view reads parameters of a sharded model."""
    return ValueError(
        "trainer.shard: something reads parameters of a sharded model without running the model (a term, a helper, a "
        "view, a text written token by token), and no process holds them whole: set trainer.shard=null, or shard the "
        "other side alone (student or teachers)"
    )


def clip(parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
    """`nn.utils.clip_grad_norm_` where some of the gradients lie in parts; the norm is that of all of them."""
    slopes = [p.grad for p in parameters if p.grad is not None]
    norms = {kind: [here(g) for g in slopes if is_sharded(g) is kind] for kind in (True, False)}
    parts, whole = (_squares(norms[kind], parameters[0].device) for kind in (True, False))
    norm = (all_sum(parts) + whole).sqrt()
    factor = torch.clamp(limit / (norm + 1e-6), max=1.0).to(parameters[0].dtype)
    torch._foreach_mul_([here(g) for g in slopes], factor)
    return norm.to(parameters[0].dtype)


@contextmanager
def kept_aside(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Gradients that come to these inside are forgotten."""
    former = [(p, p.grad) for p in parameters]
    for p, _ in former:
        p.grad = None
    try:
        yield
    finally:
        for p, slope in former:
            p.grad = slope


def _squares(slopes: Sequence[Tensor], device: torch.device) -> Tensor:
    """The sum of all their squares, in double precision."""
    if not slopes:
        return torch.zeros((), dtype=torch.float64, device=device)
    return torch.stack(torch._foreach_norm(list(slopes))).double().square().sum()


def _share_out(model: nn.Module, own: Sequence[Role], mesh: Any) -> Gathered:
    from torch.distributed.fsdp import FSDPModule, fully_shard

    learns = any(role.part == "train" for role in own)
    read_inside = any(role.taps for role in own)
    # A part that FSDP flattens lies in torch's own layout.
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload] # torch's stub forgets it
    start_alike([model])
    numbers = {p for p in model.parameters() if p.ndim == 0}
    options: dict[str, Any] = {"mesh": mesh, "ignored_params": numbers}
    for block in blocks(model):
        # A layer that a loss reads by itself is gone through backwards though nothing came back through its block.
        fully_shard(block, reshard_after_forward=not (learns and read_inside), **options)
    fully_shard(model, reshard_after_forward=not learns, **options)
    for parameter in numbers:
        parameter.data = parameter.data.to(mesh.device_type)
    within: Any = fully_shard(Gathered(model), mesh=mesh, ignored_params=numbers)
    within._parts = [part for part in model.modules() if isinstance(part, FSDPModule)]
    for part in within._parts:
        # Each process's loss is a share of the whole: sums, not means.
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)
    within(dict)  # now it is the outermost one, whoever calls what first
    return within


def blocks(model: nn.Module) -> list[nn.Module]:
    """What is gathered at a time: the members of lists of layers, inner ones first, whose parameters nobody shares."""
    held = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    found: dict[nn.Module, None] = {}
    for each in reversed(list(model.modules())):
        for member in each if isinstance(each, nn.ModuleList) else ():
            mine = Counter(id(p) for _, p in member.named_parameters(remove_duplicate=False))
            alone = all(held[key] == count for key, count in mine.items())
            if mine and alone and not isinstance(member, (nn.ModuleList, nn.ModuleDict)):
                found[member] = None
    return list(found)


def _check_apart(models: Sequence[nn.Module], which: Shard) -> None:
    owner: dict[Tensor, nn.Module] = {}
    for model in models:
        for name, parameter in model.named_parameters():
            other = owner.setdefault(parameter, model)
            if other is not model:
                raise ValueError(
                    f"trainer.shard={which}: {name} of a {type(model).__name__} is a {type(other).__name__}'s too, and "
                    "each is gathered for its own passes: set trainer.shard=null, or give them weights of their own"
                )


def _facts(module: nn.Module) -> tuple[type, frozenset[str], Mapping[str, Any]]:
    """Its class, the names of its attributes, and its hooks: what FSDP changes besides parameters."""
    hooks = {name: copy.copy(value) for name, value in vars(module).items() if name in _HOOKS}
    return type(module), frozenset(vars(module)), hooks
