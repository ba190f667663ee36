"""A policy on disk: weights as safetensors, everything else as JSON, a card for people. No pickle.

policy/model.safetensors    parameters and normaliser
       config.json          class by name, arguments, groups read, task, action scaling, rate, golden action
       README.md            model card (the hub's format)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from embodkd.policies.base import POLICIES, Input, Policy
from embodkd.policies.card import model_card

from embodkd.core.files import atomic_folder, read_json, read_tensors, write_json, write_tensors
from embodkd.core.registry import near

FORMAT = 1
GOLDEN_ROWS, GOLDEN_TOLERANCE = 4, 1e-3
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".zip", ".bin", ".ckpt")


def task_record(spec: Any) -> dict[str, Any]:
    """What an artefact says about its task, from a task's spec."""
    return {
        "name": spec.name,
        "engine": spec.engine,
        "options": dict(getattr(spec, "options", {})),
        "control_hz": float(spec.control_hz),
    }


def save_policy(
    folder: str | Path,
    policy: Policy,
    *,
    task: Mapping[str, Any],
    lineage: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a policy folder, whole or not at all, in the place of a former one.

    `task`: as from `task_record`; `lineage`: method, teacher, seed...; `extra`: further facts (evaluation...).
    """
    golden = _golden_action(policy)
    if not np.isfinite(golden).all():
        raise ValueError(f"{folder}: the policy's action on the golden input is not finite; its weights are broken")
    config = {
        "format": FORMAT,
        "policy": POLICIES.name_of(type(policy)),
        "arguments": {k: list(v) if isinstance(v, tuple) else v for k, v in policy.arguments.items()},
        "groups": {
            i.name: {"shape": list(i.shape), "privileged": i.privileged, "dtype": i.dtype, "unit": i.unit}
            for i in policy.inputs.values()
        },
        "action": {"size": policy.action_size, "low": -1.0, "high": 1.0, "units": "fractions of the task's limits"},
        "control_hz": task.get("control_hz"),
        "task": {k: v for k, v in task.items() if k != "control_hz"},
        "lineage": dict(lineage or {}),
        "extra": dict(extra or {}),
        "golden_action": golden.tolist(),
    }
    folder = Path(folder)
    with atomic_folder(folder) as aside:
        write_tensors(aside / "model.safetensors", policy.state_dict())
        write_json(aside / "config.json", config)
        (aside / "README.md").write_text(model_card(folder.name, config), encoding="utf-8")
    return folder


def load_policy(folder: str | Path) -> tuple[Policy, dict[str, Any]]:
    """(policy in evaluation mode, its config.json). ValueError, with advice, if anything is missing or does not fit."""
    folder = Path(folder)
    meta = read_meta(folder)
    inputs = {n: Input(n, tuple(g["shape"]), g["privileged"], g["dtype"], g["unit"]) for n, g in meta["groups"].items()}
    # Building draws initial weights that are overwritten at once: the caller's random stream must not notice.
    with torch.random.fork_rng(devices=[]):
        policy = POLICIES.get(meta["policy"]).build(inputs, meta["action"]["size"], **meta["arguments"])
    tensors = read_tensors(folder / "model.safetensors")
    wanted = policy.state_dict()
    odd = sorted(wanted.keys() ^ tensors.keys())
    odd += sorted(n for n in wanted.keys() & tensors.keys() if wanted[n].shape != tensors[n].shape)
    if odd:
        raise ValueError(f"{folder}: model.safetensors and config.json do not belong together (tensors {odd[:4]})")
    policy.load_state_dict(tensors)
    worst = np.abs(_golden_action(policy) - np.asarray(meta["golden_action"], np.float32)).max()
    if not worst <= GOLDEN_TOLERANCE:
        raise ValueError(
            f"{folder}: the loaded policy acts differently from the saved one (by {worst:.3g} on a fixed input): "
            "the weights or the policy's code changed since; save it anew, or use the version that wrote it"
        )
    return policy.eval(), meta


def read_meta(folder: str | Path) -> dict[str, Any]:
    """config.json of a policy folder, without building it; ValueError if the folder is not one."""
    folder = Path(folder)
    if folder.suffix in _PICKLES:
        raise ValueError(
            f"{folder}: looks like a pickle of another program, which could run any code when opened; it is not read. "
            "Give a policy folder (model.safetensors + config.json) as written by save_policy"
        )
    if not folder.is_dir():
        beside = [p.name for p in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise ValueError(f"{folder}: no such policy folder; in {folder.parent}: {near(folder.name, beside)}")
    missing = [n for n in ("config.json", "model.safetensors") if not (folder / n).is_file()]
    if missing:
        hint = f"; did you mean {folder / 'policy'}?" if (folder / "policy" / "config.json").exists() else ""
        pickles = [p.name for p in folder.iterdir() if p.suffix in _PICKLES]
        hint += f"; {pickles[0]} may be a pickle, which is never read" if pickles else ""
        raise ValueError(f"{folder}: not a whole policy folder, {' and '.join(missing)} missing{hint}")
    meta = read_json(folder / "config.json")
    keys = ("format", "policy", "arguments", "groups", "action", "task", "golden_action")
    absent = [k for k in keys if k not in meta] if isinstance(meta, dict) else list(keys)
    if absent:
        raise ValueError(f"{folder / 'config.json'}: lacks {', '.join(absent)}: not written by save_policy")
    if meta["format"] > FORMAT:
        raise ValueError(f"{folder}: has format {meta['format']}, this version reads up to {FORMAT}; upgrade embodkd")
    return meta


def check_task(policy: Policy, meta: Mapping[str, Any], spec: Any, where: str = "policy") -> None:
    """ValueError unless `policy` can act in the task `spec`: same task, groups, shapes and action size."""
    if meta["task"].get("name") != spec.name:
        raise ValueError(f"{where}: was made for task {meta['task'].get('name')!r}, not for {spec.name!r}")
    for name, seen in policy.inputs.items():
        if name not in spec.groups:
            raise ValueError(f"{where}: reads group {name!r}, task {spec.name!r} lacks it: {near(name, spec.groups)}")
        if tuple(spec.groups[name].shape) != seen.shape:
            found = tuple(spec.groups[name].shape)
            raise ValueError(f"{where}: reads group {name!r} of shape {seen.shape}, task {spec.name!r} gives {found}")
    if policy.action_size != spec.action_size:
        raise ValueError(f"{where}: gives {policy.action_size} actions, task {spec.name!r} needs {spec.action_size}")


def _golden_action(policy: Policy) -> np.ndarray:
    """The unclipped action on a fixed input that depends on nothing but the groups' shapes, (GOLDEN_ROWS, A)."""
    was_training = policy.training
    policy.eval()
    device = policy.normaliser.mean.device
    obs = {}
    for name, seen in policy.inputs.items():
        count = GOLDEN_ROWS * int(np.prod(seen.shape))
        # Weyl's sequence: arithmetic instead of a generator, whose stream might change with numpy's version.
        unit = (np.arange(1, count + 1) * 0.6180339887498949) % 1.0
        values = unit * 255 if seen.dtype == "uint8" else unit - 0.5
        obs[name] = torch.from_numpy(values.astype(seen.dtype).reshape(GOLDEN_ROWS, *seen.shape)).to(device)
    with torch.no_grad():
        action_NA = policy(obs).cpu().numpy()
    policy.train(was_training)
    return action_NA
