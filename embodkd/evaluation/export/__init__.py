"""Trained things as files that run without this project, each checked against what made its figures."""

from embodkd.evaluation.export.classifier import ExportedModel, export_model
from embodkd.evaluation.export.formats import FORMATS
from embodkd.evaluation.export.policy import Exported, export_policy

__all__ = ["FORMATS", "Exported", "ExportedModel", "export_model", "export_policy"]
