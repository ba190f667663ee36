"""What a run learns from, by digests in its folder: it does not go on with what took the place of that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FILE = "data.json"
# What of a policy or a model acts: cards, evaluations and exports that come to lie beside it change nothing.
ACTS = ("config.json", "model.safetensors")


def check_inputs(run: Path, data: str | None = None, given: Mapping[str, str | Path | None] | None = None) -> None:
    """Note what `run` begins with; ValueError that names what another took the place of since.

    data: the digest of the data; given: key of the command line -> the policy's or model's folder, None for no such.
    """
    from embodkd.core.runs.digests import digest_of_folder
    from embodkd.core.runs.files import read_json, write_json

    file, now = run / FILE, {} if data is None else {"data": data}
    now |= {f"files in {k}={path}": digest_of_folder(Path(path), ACTS) for k, path in (given or {}).items() if path}
    noted = read_json(file) if file.is_file() else {}
    if not isinstance(noted, dict):
        raise ValueError(f"{file}: holds no mapping of names to digests; damaged: choose another folder, run=...")
    other = [name for name, digest in now.items() if noted.get(name, digest) != digest]
    if other:
        raise ValueError(
            f"{run}: began with other {' and other '.join(other)} than are there now: put back what it began with, or "
            "choose another folder, run=..."
        )
    if now.keys() - noted.keys():
        write_json(file, {**noted, **now})
