"""Tensors that lie in parts on several processes, on disk: each process writes a safetensors file of its parts.

torch's distributed checkpoint does it, by its writer for the hub's format: where a part belongs stands in the file that
holds it, so that any number of processes reads them. No pickle.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from embodkd.core.ranks import Ranks, join
from embodkd.core.runs.digests import write_digest
from embodkd.core.runs.files import clear_os_error
from embodkd.core.runs.finite import first_not_finite, no_checkpoint_of
from embodkd.core.sharded import is_sharded


def write_shards(folder: Path | None, parts: Mapping[str, Tensor], step: int, ranks: Ranks) -> None:
    """Every process calls it with its parts; the first one with the folder that all write into, with digests.

    FloatingPointError, in all alike, for what is not finite, naming the run that the checkpoint of this step is of;
    ValueError where a process does not see the folder; OSError that names it where one cannot write.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    join()
    folder = ranks.broadcast(folder)
    assert folder is not None
    bad = [name for name in ranks.gather(first_not_finite(parts)) if name is not None]
    if bad:
        raise no_checkpoint_of(bad[0], step, folder.parents[2])
    blind = [rank for rank, sees in enumerate(ranks.gather(folder.is_dir())) if not sees]
    if blind:
        raise ValueError(
            f"{folder.parents[2]}: process {blind[0]} does not see this folder, and its part of a sharded checkpoint "
            "belongs there: put the run on a disk that all machines share, or set trainer.shard=null"
        )
    with _clear_failures(folder), _quiet():
        save(dict(parts), storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
    for file in ranks.share(sorted(folder.glob("*.safetensors"))):
        write_digest(file)
    ranks.wait()


def read_shards(folder: Path, like: Callable[[str], Tensor | None], *starts: str) -> dict[str, Tensor]:
    """What lies in `folder` under names that begin with one of `starts`: laid out as `like(name)` is.

    Where that is a part, this process's part is read; everything else is read whole, on the CPU. ValueError for files
    that are damaged, or tensors of another shape than `like` them.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(str(folder))
    try:
        stored = reader.read_metadata().state_dict_metadata
    except Exception as error:  # of safetensors, whatever it finds
        raise ValueError(f"{folder}: damaged ({error}); restore it or write it anew") from error
    wanted: dict[str, Tensor] = {}
    for name, facts in stored.items():
        if not name.startswith(starts):
            continue
        own, dtype = like(name), facts.properties.dtype  # type: ignore[union-attr] # tensors alone are there
        size = tuple(facts.size)  # type: ignore[union-attr]
        if own is not None and is_sharded(own):
            if tuple(own.shape) != size:
                raise ValueError(f"{folder}: {name} is of shape {size}, not {tuple(own.shape)}")
            wanted[name] = torch.empty_like(own, dtype=dtype, requires_grad=False)
        else:
            wanted[name] = torch.empty(size, dtype=dtype)
    if wanted:
        with _quiet():
            load(wanted, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=True)
    return wanted


@contextmanager
def _clear_failures(folder: Path) -> Iterator[None]:
    """What one process could not write is said by all as what it was."""
    from torch.distributed.checkpoint.api import CheckpointException

    with clear_os_error(folder):
        try:
            yield
        except CheckpointException as error:
            cause = next(iter(error.failures.values()))[0]
            raise (cause if isinstance(cause, OSError) else RuntimeError(f"{folder}: {cause}")) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warnings about its own older storages."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
