"""What is said, and kept, of a batch whose loss or gradient is not finite."""

from __future__ import annotations

from embodkd.core.engine.bad_loss import BadLoss
from embodkd.core.engine.unread import Unread
from embodkd.core.ranks import Ranks
from embodkd.core.runs.files import atomic_folder, write_json, write_tensors
from embodkd.core.runs.folder import RunFolder


def look(unread: Unread | None, run: RunFolder | None, ranks: Ranks) -> None:
    """Read the losses that nobody has read, if there are such; FloatingPointError for one that is not finite."""
    try:
        if unread is not None:
            unread.look()
    except BadLoss as error:
        assert error.update is not None
        raise explained(error, error.update, run, ranks) from error


def explained(error: BadLoss, update: int, run: RunFolder | None, ranks: Ranks) -> FloatingPointError:
    """What to raise for it, at the run's update of this number; the batch is kept in the run's folder."""
    where = "there is no run folder, so the batch was not saved"
    if run is not None:
        folder = run.path / ("bad_batch" if ranks.is_first else f"bad_batch_{ranks.rank}")
        with atomic_folder(folder) as aside:
            write_tensors(aside / "batch.safetensors", error.batch)
            write_json(aside / "where.json", {"player": error.player, "term": error.term, "update": update})
        where = f"its batch is in {folder}"
    return FloatingPointError(
        f"update {update}: {error}; {where}; this player's parameters have not moved; "
        "check the labels and inputs there, lower the learning rate, or clip the gradient"
    )
