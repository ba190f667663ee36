"""`embodkd train teacher data=...` and `embodkd distill student data=...`: the same verbs on data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.cli.common import classifier_file, model_folder, without_name
from embodkd.cli.groups import Budget, Data, Model
from embodkd.cli.learn import Learn, Lesson
from embodkd.core.config.ranges import Seed
from embodkd.core.ranks import ranks

if TYPE_CHECKING:
    from torch import nn

    from embodkd.core import DataSet
    from embodkd.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class TrainClassifier(Learn):
    """Train a new `model` on `data` into the folder `run`, then judge it on the test. The keys are the config's."""

    data_seed: Seed
    data: Data
    model: Model
    budget: Budget

    def kind(self) -> str:
        """That of the data set, as its name says."""
        from embodkd.data import kind_of

        return kind_of(self.data["name"])

    @contextmanager
    def lesson(self) -> Iterator[Lesson]:
        """The data, drawn with `data_seed`, and nobody or those named who teach."""
        from embodkd.core import Budget as TheBudget
        from embodkd.core import seed_everything
        from embodkd.core.fingerprint import digest
        from embodkd.core.sources.provenance import Provenance
        from embodkd.data import make_data
        from embodkd.models import check_storable, make_model, save_model

        source = {**self.data, "seed": self.data_seed}
        data, budget = make_data(**source), TheBudget.of(self.budget)
        teachers, facts = _taught(self.taught_by(), data)
        provenance = Provenance.of(data, teachers.values())
        seed_everything(self.seed)
        student = make_model(self.model["name"], **data.facts(), **without_name(self.model))

        def save(model: Any, run: Path, lineage: dict[str, Any]) -> None:
            model.provenance = provenance
            seen = data.test.fields.get("input")
            examples = seen if seen is not None and seen.is_floating_point() else None
            save_model(run / "model", model, lineage=lineage, examples=examples)

        alone = set(teachers) == {"teacher"}
        yield Lesson(
            student,
            teachers["teacher"] if alone else teachers or None,
            data,
            run=f"runs/{self.method['name']}_{self.data['name']}",
            lineage={"data": source, "teacher": facts["teacher"] if alone else facts},
            save=save,
            judge=judge_model,
            check=lambda model: check_storable(model, f"method={self.method['name']}"),
            budget=budget,
            said=[f"beware: {sentence}" for sentence in provenance.beware(data)],
            digest=digest([data.names, data.items, data.train.fields], "data"),
            given={name: model_folder(path) for name, path in self.taught_by().items()},
        )

    def taught_by(self) -> Mapping[str, str]:
        """Name -> folder of those who teach."""
        return {}


@dataclass(frozen=True, kw_only=True)
class DistillClassifier(TrainClassifier):
    """Distil `teacher` into a new `model` by `method`, keep it in `run`/model, judge it. The keys are the config's."""

    teacher: str | Mapping[str, str] | None

    def taught_by(self) -> Mapping[str, str]:
        """One is called "teacher"."""
        return {"teacher": self.teacher} if isinstance(self.teacher, str) else self.teacher or {}


def judge_model(folder: str | Path, part: str = "test", out: str | Path | None = None) -> Evaluation:
    """Evaluate a model folder on a part of the data that it was made for; result and samples are written beside it."""
    from embodkd.core.runs.reading import blamed
    from embodkd.data import make_data
    from embodkd.evaluation.judges import judge_of
    from embodkd.evaluation.samples.kept import samples_of
    from embodkd.models import load_model

    where = model_folder(folder)
    model, config = load_model(where)
    source = config["lineage"].get("data")
    if source is None:
        raise ValueError(f"{where}: its config.json does not say which data it was made for (lineage.data)")
    with blamed(where / "config.json"):
        data = make_data(**source)
    judge = judge_of(model, data)
    result = judge.evaluated(model, data, source, part=part, model_folder=where)

    def kept() -> None:
        file = result.save(out or classifier_file(folder, part))
        if judge.samples is not None:
            samples = judge.samples(model, data, part)
            replace(samples, weights_sha256=result.manifest["weights_sha256"]).save(samples_of(file))

    ranks().first_does(kept)
    return result


def _taught(named: Mapping[str, str], data: DataSet) -> tuple[dict[str, nn.Module], dict[str, Any]]:
    """(the teachers, what is to be remembered of them), by name."""
    from embodkd.models import load_model

    models: dict[str, nn.Module] = {}
    facts = {}
    for name, path in named.items():
        folder = model_folder(path)
        model, config = load_model(folder)
        for fact, value in data.facts().items():
            # the method holds how many classes or tokens there are against what it needs
            if fact not in (data.counted, "length") and getattr(model, fact, None) != value:
                raise ValueError(
                    f"teacher {name!r}: {folder} was made for data with {fact} {getattr(model, fact, None)}, these "
                    f"have {value}; train it on data like these"
                )
        models[name], facts[name] = model, {"model": str(folder), "lineage": config["lineage"]}
    return models, facts
