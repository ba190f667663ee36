"""`embodkd export`."""

from __future__ import annotations

from pathlib import Path

from embodkd.cli.common import needed, policy_folder
from embodkd.core.config.ranges import NotNegative


def export(policy: str | None, format: str, out: str | None, tolerance: NotNegative) -> int:
    """Write a policy as one file and print how closely it acts like the original."""
    folder = policy_folder(needed(policy, "policy", "embodkd export policy=runs/depth_cnn_peg_hole"))

    from embodkd.evaluation.export import FORMATS, export_policy
    from embodkd.policies import load_policy

    actor, meta = load_policy(folder)
    path = Path(out) if out is not None else folder.parent / f"policy{FORMATS.get(format, '')}"
    print(export_policy(actor, meta, path, format, tolerance))
    return 0
