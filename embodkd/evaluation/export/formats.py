"""The two kinds of file: ONNX runs in onnxruntime, on robots without Python too; a `.pt2` is torch's own portable
program, a zip of raw weights and a graph in JSON.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from embodkd.core.config.registry import near
from embodkd.core.modules.modes import evaluating
from embodkd.core.runs.files import clear_os_error
from embodkd.core.runs.unbegun import parents_of
from embodkd.evaluation.export.graph import Graph

FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
_OPSET = 20
# Facts in the file: as metadata of an ONNX model, as a file in torch's zip.
KEY, MEMBER = "embodkd", "embodkd.json"


@contextmanager
def written(graph: Graph, path: Path, format: str) -> Iterator[Path]:
    """Write `graph` and give the file; it comes to `path` if all that is done with it inside goes well.

    ValueError for an unknown format, ImportError with the extra to install.
    """
    if format not in FORMATS:
        raise ValueError(f"export: unknown format {format!r}: {near(format, FORMATS)}")
    with (
        clear_os_error(path),
        parents_of(path),
        evaluating(graph.module),
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as aside,
    ):
        draft = Path(aside) / f"draft{FORMATS[format]}"
        with _exporter_silenced():
            _WRITERS[format](graph, draft)
        yield draft
        os.replace(draft, path)


def _program(graph: Graph) -> torch.export.ExportedProgram:
    example = tuple(torch.zeros(2, *port.shape, dtype=getattr(torch, port.dtype)) for port in graph.ports)
    batch = torch.export.Dim("N", min=1)
    with torch.no_grad():
        return torch.export.export(graph.module, example, dynamic_shapes=(tuple({0: batch} for _ in example),))


def _write_onnx(graph: Graph, path: Path) -> None:
    try:
        import onnx
        import onnxruntime  # noqa: F401 (asked for now, before the work is done)
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"ONNX needs {error.name}: pip install 'embodkd[export]', or use format=torch") from error
    inputs = [port.name for port in graph.ports]
    made = torch.onnx.export(
        _program(graph), dynamo=True, input_names=inputs, output_names=list(graph.outputs), opset_version=_OPSET,
        verbose=False,
    )  # fmt: skip
    if made is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    model = made.model_proto
    _drop_unused(model.graph)
    model.metadata_props.add(key=KEY, value=json.dumps(dict(graph.facts)))
    onnx.save(model, str(path))


def _drop_unused(graph: Any) -> None:
    """Forget constants of branches that torch leaves in the trunk too: onnxruntime warns of each at every start."""

    def used(part: Any) -> Iterator[str]:
        for node in part.node:
            yield from node.input
            for attribute in node.attribute:
                yield from used(attribute.g)
        yield from (output.name for output in part.output)

    names = set(used(graph))
    for constant in [constant for constant in graph.initializer if constant.name not in names]:
        graph.initializer.remove(constant)


def _write_torch(graph: Graph, path: Path) -> None:
    program = _program(graph)
    program.example_inputs = None  # the one part of the container that torch would pickle
    torch.export.save(program, path, extra_files={MEMBER: json.dumps(dict(graph.facts), indent=2)})


_WRITERS = {"onnx": _write_onnx, "torch": _write_torch}


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
