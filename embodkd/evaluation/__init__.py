"""Judging: success with intervals, paired comparison, sensor ablation, leak probes, videos and the report."""

from embodkd.core import Actor
from embodkd.evaluation.ablate import Ablation, ablate
from embodkd.evaluation.classifier import evaluate_classifier
from embodkd.evaluation.compare import Comparison, compare
from embodkd.evaluation.evaluate import evaluate
from embodkd.evaluation.interval import mcnemar, paired_interval, wilson
from embodkd.evaluation.probe import LeakProbe, Recovery, probe_leak, probe_privileged
from embodkd.evaluation.result import Episode, Evaluation
from embodkd.evaluation.transfer import Transfer, transfer

__all__ = [
    "Ablation",
    "Actor",
    "Comparison",
    "Episode",
    "Evaluation",
    "LeakProbe",
    "Recovery",
    "Transfer",
    "ablate",
    "compare",
    "evaluate",
    "evaluate_classifier",
    "mcnemar",
    "paired_interval",
    "probe_leak",
    "probe_privileged",
    "transfer",
    "wilson",
]
