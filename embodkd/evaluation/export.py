"""A policy as one file for deployment, normaliser inside, and proof that it still acts the same.

ONNX runs in onnxruntime, on robots without Python too. A `.pt2` is torch's own portable program: a zip of raw weights
and a graph in JSON.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core.config.registry import near
from embodkd.core.modules.modes import evaluating
from embodkd.core.runs.files import clear_os_error

if TYPE_CHECKING:
    from embodkd.policies import Policy

FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
_ROWS = (1, 7)  # batch sizes of the parity check: one robot, and an odd number
_OPSET = 20
Runner = Callable[[dict[str, np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class Exported:
    """What was written, and the largest difference of any action component between it and the policy."""

    path: Path
    format: str
    worst: float
    rows: int

    def __str__(self) -> str:
        size = self.path.stat().st_size / 1e6
        return f"{self.path} ({size:.2f} MB): acts like the policy within {self.worst:.1e} on {self.rows} inputs"


class Deployed(nn.Module):
    """The policy with one positional input per group, in the order of `reads`, and its action within its bounds."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, *groups: Tensor) -> Tensor:
        """Actions (N, A)."""
        return self.policy.clipped(self.policy(dict(zip(self.policy.reads, groups, strict=True))))


def export_policy(
    policy: Policy, meta: Mapping[str, Any], path: str | Path, format: str = "onnx", tolerance: float = 1e-5
) -> Exported:
    """Write `policy` to `path` and run both on the same random inputs.

    `meta` is the policy's config.json; names, units, control rate and action scaling go into the file. ValueError if
    the format is unknown or the exported file acts differently by more than `tolerance` (then nothing is left at
    `path` but what was there before); ImportError with the extra to install.
    """
    if format not in FORMATS:
        raise ValueError(f"export: unknown format {format!r}: {near(format, FORMATS)}")
    path = Path(path)
    facts = contract(policy, meta)
    with (
        evaluating(policy),
        clear_os_error(path),
        tempfile.TemporaryDirectory(dir=_parent(path), prefix=".export-") as aside,
    ):
        draft = Path(aside) / path.name
        write, load = (_write_onnx, _onnx_runner) if format == "onnx" else (_write_torch, _torch_runner)
        with _exporter_silenced():
            write(policy, draft, facts)
            run = load(draft, policy)
        worst, rows = parity(policy, run)
        if not worst <= tolerance:
            raise ValueError(
                f"{path}: the exported file acts differently from the policy by {worst:.2g} (tolerance {tolerance:g}); "
                "it was not kept; export with format=torch, or raise tolerance= if that much does not matter"
            )
        os.replace(draft, path)
    return Exported(path, format, worst, rows)


def contract(policy: Policy, meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a robot must know to use the file: inputs with shapes and units, action scaling, control rate, origin."""
    inputs = [
        {"name": i.name, "shape": ["N", *i.shape], "dtype": i.dtype, "unit": i.unit, "privileged": i.privileged}
        for i in policy.inputs.values()
    ]
    return {
        "policy": meta["policy"],
        "task": meta["task"]["name"],
        "control_hz": meta.get("control_hz"),
        "inputs": inputs,
        "output": {"name": "action", "shape": ["N", policy.action_size], **meta["action"]},
        "lineage": meta.get("lineage", {}),
    }


def parity(policy: Policy, run: Runner, seed: int = 0) -> tuple[float, int]:
    """(largest absolute difference of the actions, inputs tried) between `policy` and `run`."""
    generator = np.random.default_rng(seed)
    worst = 0.0
    for rows in _ROWS:
        obs = _random_inputs(policy, rows, generator)
        worst = max(worst, float(np.abs(run(obs) - policy.act(obs)).max()))
    return worst, sum(_ROWS)


def _random_inputs(policy: Policy, rows: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    obs: dict[str, np.ndarray] = {}
    for name, seen in policy.inputs.items():
        shape = (rows, *seen.shape)
        image = seen.dtype == "uint8"
        obs[name] = generator.integers(0, 256, shape, np.uint8) if image else generator.normal(size=shape, scale=0.3)
        obs[name] = obs[name].astype(seen.dtype)
    return obs


def _program(policy: Policy) -> torch.export.ExportedProgram:
    example = tuple(torch.zeros(2, *i.shape, dtype=getattr(torch, i.dtype)) for i in policy.inputs.values())
    batch = torch.export.Dim("N", min=1)
    return torch.export.export(Deployed(policy), example, dynamic_shapes=(tuple({0: batch} for _ in example),))


def _write_onnx(policy: Policy, path: Path, facts: Mapping[str, Any]) -> None:
    try:
        import onnx
        import onnxruntime  # noqa: F401 (asked for now, before the work is done)
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"ONNX needs {error.name}: pip install 'embodkd[export]', or use format=torch") from error
    program = torch.onnx.export(
        _program(policy), dynamo=True, input_names=list(policy.reads), output_names=["action"], opset_version=_OPSET,
        verbose=False,
    )  # fmt: skip
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    model = program.model_proto
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value if isinstance(value, str) else json.dumps(value))
    onnx.save(model, str(path))


def _onnx_runner(path: Path, policy: Policy) -> Runner:
    import onnxruntime

    # The bytes, not the path: the file moves to its final place after the check.
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda obs: np.asarray(session.run(["action"], {name: obs[name] for name in policy.reads})[0])


def _write_torch(policy: Policy, path: Path, facts: Mapping[str, Any]) -> None:
    program = _program(policy)
    program.example_inputs = None  # the one part of the container that torch would pickle
    torch.export.save(program, path, extra_files={"embodkd.json": json.dumps(facts, indent=2)})


def _torch_runner(path: Path, policy: Policy) -> Runner:
    module = torch.export.load(path).module()

    def run(obs: dict[str, np.ndarray]) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(module(*(torch.from_numpy(obs[name]) for name in policy.reads)))

    return run


def _parent(path: Path) -> Path:
    with clear_os_error(path, "create"):
        path.parent.mkdir(parents=True, exist_ok=True)
    return path.parent


@contextmanager
def _exporter_silenced() -> Iterator[None]:
    """torch's exporter warns about its own internals and about a torchvision that nobody needs here."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
