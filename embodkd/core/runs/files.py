"""Files that are whole or absent: written aside, fsynced, renamed last; safetensors and JSON only."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.core.runs.digests import check_digest, write_digest
from embodkd.core.runs.reading import json_of

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_ADVICE = {
    errno.ENOSPC: "free some space and start again with resume=true",
    errno.EDQUOT: "free some space and start again with resume=true",
    errno.EFBIG: "raise the file size limit (ulimit -f) and start again with resume=true",
    errno.EROFS: "choose a folder on a writable disk",
    errno.EACCES: "choose a folder that you may write to",
}


@contextmanager
def clear_os_error(path: Path, doing: str = "write") -> Iterator[None]:
    """Turn any OSError inside into one that says which path could not be used and what to do about it."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not _related(Path(os.fsdecode(error.filename)), path):
            raise
        advice = _ADVICE.get(error.errno or 0, "check the path and the disk")
        reason = error.strerror or str(error)
        message = f"cannot {doing} {path}: {reason}; what was there before is intact; {advice}"
        raise OSError(error.errno, message) from error


def _related(culprit: Path, path: Path) -> bool:
    """Whether an error about `culprit` is about writing `path` (beside, below or above it)."""
    culprit, path = culprit.absolute(), path.absolute()
    return path.parent in culprit.parents or culprit == path or culprit in path.parents


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it takes the place of `path` at once, on failure it is removed.

    A reader, or a kill at any instant, sees the former folder or the new one whole. Raises OSError naming `path`.
    """
    path = Path(path)
    aside = path.parent / f".{path.name}.tmp-{os.getpid()}"
    with clear_os_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            yield aside
            for file in sorted(aside.rglob("*")):
                _fsync(file)
            _fsync(aside)
            _put_in_place(aside, path)
            _fsync(path.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the former content or the new one; text as UTF-8; OSError names the path."""
    path = Path(path)
    aside = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    with clear_os_error(path):
        try:
            aside.write_bytes(content if isinstance(content, bytes) else content.encode())
            _fsync(aside)
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=2) + "\n")


def remove_folder(path: Path) -> None:
    """Remove a folder such that a kill half-way leaves no half folder under its name."""
    doomed = path.parent / f".{path.name}.tmp-gone-{os.getpid()}"
    with clear_os_error(path, "remove"):
        os.rename(path, doomed)
        shutil.rmtree(doomed)


def sweep_leftovers(folder: Path) -> None:
    """Remove what killed writers left aside in `folder`; call it only while no other writer can be at work there."""
    for leftover in folder.glob(".*.tmp-*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor | np.ndarray]) -> None:
    """Write tensors and arrays as safetensors, and its digest beside it (use it inside `atomic_folder`: two files)."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    packed: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in tensors.items():
        tensor = value.detach() if isinstance(value, torch.Tensor) else torch.from_numpy(_writable(value))
        tensor = tensor.cpu().contiguous()
        # safetensors refuses two names on one memory (tied weights): the second name gets its own copy.
        address = tensor.untyped_storage().data_ptr()
        packed[name] = tensor.clone() if address in seen else tensor
        seen.add(address)
    arrays = [n for n, v in tensors.items() if not isinstance(v, torch.Tensor)]
    try:
        save_file(packed, str(path), metadata={"arrays": json.dumps(arrays)})
    except SafetensorError as error:
        raise _os_error(error) from error
    write_digest(Path(path))


def read_tensors(path: str | Path) -> dict[str, Any]:
    """What `write_tensors` wrote, arrays as arrays, tensors as CPU tensors; ValueError if it is damaged or changed."""
    from safetensors import SafetensorError, safe_open

    check_digest(Path(path))
    try:
        with safe_open(str(path), framework="pt") as file:
            arrays = set(json_of((file.metadata() or {}).get("arrays", "[]"), path, list[str]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        message = f"{path}: damaged or not a safetensors file ({error}); restore it or write it anew"
        raise ValueError(message) from error
    return {name: t.numpy() if name in arrays else t for name, t in tensors.items()}


def _writable(value: Any) -> np.ndarray:
    import numpy as np

    array = np.ascontiguousarray(value).reshape(np.shape(value))
    return array if array.flags.writeable else array.copy()


def _os_error(error: Exception) -> OSError:
    """safetensors hides the system's error in its text ("Os { code: 28, ..."): dig the number out."""
    text = str(error)
    digits = text.partition("code: ")[2].partition(",")[0] or text.partition("os error ")[2].partition(")")[0]
    number = int(digits) if digits.isdigit() else errno.EIO
    return OSError(number, os.strerror(number))


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put_in_place(aside: Path, path: Path) -> None:
    if not path.exists():
        os.rename(aside, path)
        return
    if _exchange(aside, path):
        return
    former = path.parent / f".{path.name}.tmp-former-{os.getpid()}"
    os.rename(path, former)
    try:
        os.rename(aside, path)
    except OSError:
        os.rename(former, path)
        raise
    shutil.rmtree(former)


def _exchange(a: Path, b: Path) -> bool:
    """Swap two folders in one system call (Linux renameat2), so that no instant lacks either; False if unsupported."""
    at_cwd, rename_exchange = -100, 2
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return swap(at_cwd, os.fsencode(a), at_cwd, os.fsencode(b), rename_exchange) == 0
