"""DisWOT: which student is chosen, how it is distilled, and what is said about the ranking."""

import dataclasses

import pytest
import torch
from rows import C, blobs, budget, images, large, large_cnn, small
from torch import nn

from embodkd.core import Context, Recipe, RunFolder, Trainer
from embodkd.methods import get_method
from embodkd.methods.diswot import Candidates
from embodkd.models import make_model

DisWOT = get_method("diswot")
CONTEXT = Context(None, 0, torch.device("cpu"))
SMALL = {"argument": "hidden", "choices": (2, 4, 8), "semantic": 0.0, "batch": 16, "repeats": 2}


def recipe(model=None, teacher=None, data=None, seed=5, **options):
    torch.manual_seed(0)
    model, teacher = model or small(), teacher or large()
    return DisWOT(**{**SMALL, **options}).recipe(model, teacher, data or blobs(), seed=seed, budget=budget())


def chosen(**options):
    plan = recipe(**options)
    said = plan.stages[0](CONTEXT)
    return tuple(plan.product.choice.tolist()), said


def test_the_best_of_all_candidates_is_chosen_whatever_finds_it():
    every = chosen(search="all")
    assert every[1]["considered"] == 9 and every[1]["score"] < 0 <= every[1]["score_std"]
    assert chosen(search="evolution", evaluations=200)[0] == every[0] == chosen(search="random", evaluations=200)[0]
    assert chosen(search="all")[1] == every[1]


def test_the_rivals_choose_the_largest_and_at_random():
    assert chosen(search="all", score="parameters")[0] == (8, 8)
    found = {chosen(search="all", score="random", seed=seed)[0] for seed in range(6)}
    assert len(found) > 2


@pytest.mark.parametrize("score", ["nwot", "snip", "synflow", "rkd"])
def test_every_rival_chooses_the_best_by_its_own_score(score):
    options = {**SMALL, "score": score, "search": "all", "choices": (8, 16, 32), "batch": 6}
    choice, said = chosen(**options)
    assert said["considered"] == 9
    torch.manual_seed(0)
    candidates = Candidates(DisWOT(**options), small(), large(), blobs(), 5)
    values = {a: candidates.judge(a) for a in candidates.space}
    assert max(values, key=values.get) == choice and len(set(values.values())) > 1


def test_other_scores_are_ranked_beside():
    said = Trainer(quiet=True).fit(recipe(trains="all", compare=("nwot", "synflow", "rkd"))).last
    assert all(-1 <= said[f"{name}_rank"] <= 1 for name in ("score", "nwot", "synflow", "rkd"))
    assert "parameters_rank" not in said


def test_channels_are_a_loss_and_a_score_between_maps_of_one_width():
    torch.manual_seed(0)
    student, teacher = make_model("cnn", (1, 8, 8), C, widths=(4, 16)), large_cnn()
    plan = DisWOT(search="none", ickd=3.0).recipe(student, teacher, images(), budget=budget())
    assert Trainer(quiet=True).fit(plan).last["student/ickd"] > 0
    sizes = {"argument": "widths", "choices": (16,), "search": "all", "score": "ickd"}
    assert chosen(model=student, teacher=teacher, data=images(), **sizes)[1]["considered"] == 1
    with pytest.raises(ValueError, match="same items and channels"):
        chosen(model=student, teacher=teacher, data=images(), **{**sizes, "choices": (8,)})


def test_nothing_above_the_limit_is_chosen():
    choice, said = chosen(search="all", score="parameters", max_parameters=80)
    assert said["parameters"] <= 80 and said["considered"] < 9
    assert (said["hidden_0"], said["hidden_1"]) == choice
    with pytest.raises(ValueError, match="no architecture of the space is allowed"):
        chosen(max_parameters=3)


def test_the_score_does_not_depend_on_trained_weights():
    """Both networks are scored with random weights: whatever theirs are, the same one is chosen with the same score."""
    first = chosen(search="all")[1]
    teacher, student = large(), small()
    with torch.no_grad():
        for p in (*teacher.parameters(), *student.parameters()):
            p.mul_(3.0)
    assert chosen(search="all", teacher=teacher, model=student)[1] == first


def test_images_are_scored_by_both_parts():
    torch.manual_seed(0)
    student, teacher = make_model("cnn", (1, 8, 8), C, widths=(4, 16)), large_cnn()
    data, sizes = images(), {"argument": "widths", "choices": (16,), "search": "all"}
    scores = {}
    for name, parts in {"both": (1.0, 1.0), "relation": (1.0, 0.0), "semantic": (0.0, 1.0)}.items():
        options = {**sizes, "relation": parts[0], "semantic": parts[1]}
        scores[name] = chosen(model=student, teacher=teacher, data=data, **options)[1]["score"]
    assert scores["both"] == pytest.approx(scores["relation"] + scores["semantic"])
    assert scores["semantic"] < 0


def test_all_candidates_side_by_side_say_how_well_the_score_ranks():
    plan = recipe(trains="all", sp=0.0)
    assert len(plan.stages[0].players) == 9
    said = Trainer(quiet=True).fit(plan).last
    assert -1 <= said["score_rank"] <= 1 and -1 <= said["parameters_rank"] <= 1
    best = plan.product.net
    (twin,) = (m for p in plan.stages[0].players if (m := p.train.model).arguments == best.arguments)
    assert all(torch.equal(a, b) for a, b in zip(twin.parameters(), best.parameters(), strict=True))
    assert tuple(plan.product.choice.tolist()) == chosen(search="all")[0]


def test_a_candidate_among_all_learns_what_it_learns_alone():
    together, alone = recipe(trains="all"), recipe(search="all")
    Trainer(quiet=True, seed=3).fit(together)
    Trainer(quiet=True, seed=3).fit(alone)
    x = torch.randn(4, 6)
    assert torch.equal(together.product(x)["logits"], alone.product(x)["logits"])


def test_a_resumed_run_has_the_chosen_network(tmp_path):
    def run(**options):
        with RunFolder.open(tmp_path / "run", {}, resume=True) as folder:
            plan = recipe(search="all")
            if options:
                plan = Recipe((plan.stages[0],), plan.product)
            Trainer(folder, quiet=True, seed=3).fit(plan)
            return plan.product

    first = run(only=True)
    assert isinstance(first.net, nn.Module)
    resumed, whole = run(), recipe(search="all")
    Trainer(quiet=True, seed=3).fit(whole)
    assert all(
        torch.equal(a, b)
        for a, b in zip(resumed.state_dict().values(), whole.product.state_dict().values(), strict=True)
    )


def test_the_similarity_of_maps_may_be_a_loss_too():
    torch.manual_seed(0)
    student = make_model("cnn", (1, 8, 8), C, widths=(4, 8))
    method = DisWOT(search="none", sp=2.0)
    plan = method.recipe(student, large_cnn(), images(), budget=budget())
    assert "student/sp" in Trainer(quiet=True).fit(plan).last
    assert (
        "student/sp"
        not in Trainer(quiet=True)
        .fit(dataclasses.replace(method, sp=0.0).recipe(student, large_cnn(), images(), budget=budget()))
        .last
    )


def test_a_student_without_a_list_to_choose_is_one_clear_error():
    with pytest.raises(ValueError, match=r"diswot.argument: the student's 'depths' is None"):
        recipe(argument="depths")


def test_sizes_of_an_evolution_that_contradict_each_other_are_refused():
    for sizes in ({"top": 9}, {"sample": 37}, {"evaluations": 35}):
        with pytest.raises(ValueError, match="must rise: top="):
            DisWOT(**sizes)
        DisWOT(**sizes, search="all")
