"""`embodkd train teacher data=...` and `embodkd distill student data=...`: the same verbs on data sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.cli.common import model_folder, use_threads
from embodkd.core.ranks import ranks

if TYPE_CHECKING:
    from embodkd.core import Recipe, Splits, Teachers
    from embodkd.evaluation import Evaluation

Config = Mapping[str, Any]


def train_classifier(
    run: str,
    seed: int,
    data_seed: int,
    resume: bool,
    trainer: Config,
    torch_threads: int,
    tracker: str | None,
    quiet: bool,
    data: Config,
    model: Config,
    method: Config,
    budget: Config,
) -> int:
    """Train a new `model` on `data` into the folder `run`, then judge it on the test. The keys are the config's."""
    return _make(dict(locals()), None)


def distill_classifier(
    run: str | None,
    seed: int,
    data_seed: int,
    resume: bool,
    teacher: str | Mapping[str, str] | None,
    trainer: Config,
    torch_threads: int,
    tracker: str | None,
    quiet: bool,
    data: Config,
    model: Config,
    method: Config,
    budget: Config,
) -> int:
    """Distil `teacher` into a new `model` by `method`, keep it in `run`/model, judge it. The keys are the config's."""
    config = dict(locals())
    config["run"] = run or f"runs/{method['name']}_{data['name']}"
    return _make(config, teacher)


def judge_model(folder: str | Path, part: str = "test", out: str | Path | None = None) -> Evaluation:
    """Evaluate a model folder on a part of the data that it was made for, and write the result beside it."""
    from embodkd.data import make_data
    from embodkd.evaluation import evaluate_classifier
    from embodkd.models import load_model

    where = model_folder(folder)
    model, config = load_model(where)
    source = config["lineage"].get("data")
    if source is None:
        raise ValueError(f"{where}: its config.json does not say which data it was made for (lineage.data)")
    result = evaluate_classifier(model, make_data(**source), source, part=part, model_folder=where)
    beside = where.parent if where.name == "model" else where
    file = out or beside / ("evaluation.json" if part == "test" else f"evaluation_{part}.json")
    ranks().first_does(lambda: result.save(file))
    return result


def _make(config: dict[str, Any], teacher: str | Mapping[str, str] | None) -> int:
    from embodkd.core import RunFolder, Trainer
    from embodkd.core.method import by_name
    from embodkd.core.provenance import Provenance
    from embodkd.data import make_data
    from embodkd.models import save_model

    use_threads(config["torch_threads"])
    source = {**config["data"], "seed": config["data_seed"]}
    data = make_data(**source)
    given, lineage = _taught(teacher, data)
    provenance = Provenance.of(data, by_name(given).values())
    recipe = _recipe(config, given, data)
    for said in provenance.beware(data):
        print(f"{config['run']}: beware: {said}")
    with RunFolder.open(config["run"], config, config["resume"], config["tracker"]) as folder:
        trainer = Trainer(folder, seed=config["seed"], quiet=config["quiet"], **config["trainer"])
        summary = trainer.fit(recipe)
        facts = {"method": config["method"], "seed": config["seed"], "data": source, "teacher": lineage}
        recipe.product.provenance = provenance
        ranks().first_does(lambda: save_model(folder.path / "model", recipe.product.cpu(), lineage=facts))
        print(f"{config['run']}: {summary.updates} updates in {summary.minutes:.1f} min")
        print(f"{config['run']}: {judge_model(folder.path)}")
        folder.finish(minutes=summary.minutes)
    return 0


def _recipe(config: Config, teachers: Teachers, data: Splits) -> Recipe:
    from embodkd.core import Budget, seed_everything
    from embodkd.methods import make_method
    from embodkd.models import check_storable, make_model

    method, budget = make_method(config["method"], "splits"), Budget.of(config["budget"])
    options = {key: value for key, value in config["model"].items() if key != "name"}
    seed_everything(config["seed"])
    model = make_model(config["model"]["name"], data.shape, data.classes, **options)
    recipe: Recipe = method.recipe(model, teachers, data, seed=config["seed"], budget=budget)
    # Better now than after the training.
    check_storable(recipe.product, f"method={config['method']['name']}")
    return recipe


def _taught(teacher: str | Mapping[str, str] | None, data: Splits) -> tuple[Teachers, dict[str, Any]]:
    """(the teachers as a method wants them, what is to be remembered of them)."""
    from embodkd.models import load_model

    named = {"teacher": teacher} if isinstance(teacher, str) else dict(teacher or {})
    models, facts = {}, {}
    for name, path in named.items():
        folder = model_folder(path)
        models[name], config = load_model(folder)
        if models[name].shape != data.shape:
            shapes = f"{models[name].shape}, these data have {data.shape}"
            raise ValueError(f"teacher {name!r}: {folder} reads inputs of shape {shapes}; train it on data like these")
        facts[name] = {"model": str(folder), "lineage": config["lineage"]}
    if set(models) == {"teacher"}:
        return models["teacher"], facts["teacher"]
    return models or None, facts
