"""Reproduction tables: a method beside its baselines and ablations, several seeds, intervals, claims checked."""

from embodkd.evaluation.reproduce.dry import dry_run
from embodkd.evaluation.reproduce.read import read
from embodkd.evaluation.reproduce.run import reproduce, write
from embodkd.evaluation.reproduce.show import as_text
from embodkd.evaluation.reproduce.spec import Reproduction

__all__ = ["Reproduction", "as_text", "dry_run", "read", "reproduce", "write"]
