"""Judges: by what the products of each domain are measured, one file per word of `Model.judged_as`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from embodkd.core import DataSet
from embodkd.core.config.registry import Registry, near
from embodkd.evaluation import classifier, measures
from embodkd.evaluation.judgement import Judgement, evaluated
from embodkd.evaluation.judges import foreign, generator, language, scene, speech, towers
from embodkd.evaluation.result import Evaluation
from embodkd.evaluation.samples import pairs, pictures, sounds, texts
from embodkd.evaluation.samples.kept import Samples


@dataclass(frozen=True)
class Judge:
    """measures: by name, each with `better=` ("higher" or "lower") and `unit=`.

    measured(product, data, classify, device): every measure on the test by its name, and as `name@part` on every other
    part that can be judged. judgement(model, data, part, device): one outcome per item. samples(model, data, part,
    device): a few of its answers for people, where there is anything to look at.
    """

    measures: Registry
    measured: Callable[..., dict[str, float]]
    judgement: Callable[..., Judgement]
    samples: Callable[..., Samples] | None = None

    def evaluated(self, model: nn.Module, data: DataSet, source: Mapping[str, Any], **options: Any) -> Evaluation:
        """Its judgement of a part of `data`; options: part, model_folder and device of `judgement.evaluated`."""
        return evaluated(self.judgement, model, data, source, **options)


JUDGES = {
    "classifier": Judge(measures.MEASURES, measures.measured, classifier.judgement),
    "foreign": Judge(foreign.MEASURES, foreign.measured, foreign.judgement),
    "generator": Judge(generator.MEASURES, generator.measured, generator.judgement, pictures.painted),
    "language": Judge(language.MEASURES, language.measured, language.judgement, texts.written),
    "scene": Judge(scene.MEASURES, scene.measured, scene.judgement, pictures.looked),
    "speech": Judge(speech.MEASURES, speech.measured, speech.judgement, sounds.said),
    "towers": Judge(towers.MEASURES, towers.measured, towers.judgement, pairs.found),
}
_USUAL = {"splits": "classifier", "texts": "language", "views": "scene", "speech": "speech", "pairs": "towers"}


def judge_of(product: nn.Module, data: DataSet) -> Judge:
    """Who judges `product`: the one that its class names (`judged_as`), else the usual one of such data.

    ValueError if there is no such judge.
    """
    word = getattr(product, "judged_as", _USUAL.get(data.kind))
    if word not in JUDGES:
        raise ValueError(f"{type(product).__name__} is to be judged as {word!r}: {near(str(word), JUDGES)}")
    return JUDGES[word]


def better(measure: str) -> str:
    """Which values of `measure` (or `measure@part`) are good, "higher" or "lower"; "higher" for an unknown one."""
    name = measure.partition("@")[0]
    for judge in JUDGES.values():
        if name in judge.measures:
            return str(judge.measures.metadata(name)["better"])
    return "higher"
