"""Every registered term is defined at the edge, and computes in float32 or wider whatever surrounds it.

A new term is tested as soon as it is registered.
"""

import inspect
import math

import pytest
import torch
from torch import nn

from embodkd.core import Player, Role, TensorData, Trainer, fit, kl, squared_error
from embodkd.core.terms import TERMS
from embodkd.core.terms.base import power, unit, wide
from embodkd.core.terms.self_label import label_classes, rank_scores, target_label, zipf_label

N, R, C, TOP = 5, 3, 7, 2
SHAPES = {"tokens": (N, R, C), "maps": (N, R, C), "pairs": (N, 2, C)}


def draw(name, classes=C, seed=0):
    """(student, *targets) for a term, in float64."""
    generator = torch.Generator().manual_seed(seed)
    kinds = TERMS.metadata(name)["inputs"].split(", ")
    # "vectors" alone stands for a pair of them, and so do tokens, maps and pairs
    kinds = kinds * 2 if len(kinds) == 1 and kinds[0] in ("vectors", *SHAPES) else kinds
    arguments = []
    for kind in kinds:
        value = torch.randn(SHAPES.get(kind, (N, classes)), generator=generator, dtype=torch.float64)
        if kind == "labels":
            value = torch.randint(classes, (N,), generator=generator)
        if kind.startswith("top"):
            top = value.softmax(-1).topk(min(TOP, classes))
            value = top.values if kind == "top probabilities" else top.indices
        arguments.append(value.softmax(-1) if kind == "probabilities" else value)
    return kinds, arguments


def changed(name, change, classes=C):
    """The arguments with `change(values, place)` applied to those that are not labels or probabilities."""
    kinds, arguments = draw(name, classes)
    fixed = ("labels", "probabilities", "top probabilities", "top indices")
    return [a if k in fixed else change(a, i) for i, (k, a) in enumerate(zip(kinds, arguments, strict=True))]


def equal_rows(values, place):
    return values[:1].expand_as(values).clone()


def off(*which, rows=slice(None), columns=slice(2, None)):
    def change(values, place):
        values = values.clone()
        if place in which:
            values[rows, columns] = -math.inf
        return values

    return change


def lone_spike(values, place):
    values = values.clone()
    values.view(len(values), -1)[0, 0] = 1e20
    return values


VECTORS = {
    "huge": lambda v, _: v * 1e20,
    "huge target": lambda v, place: v * 1e20 if place else v,
    "huge student": lambda v, place: v if place else v * 1e20,
    "one entry huge": lone_spike,
    "tiny": lambda v, _: v * 1e-30,
    "zeros": lambda v, _: v * 0.0,
    "zero student": lambda v, place: v if place else v * 0.0,
    "equal rows": equal_rows,
    "equal rows, huge": lambda v, place: equal_rows(v, place) * 1e20,
    "one item": lambda v, _: v[:1],
}
LOGITS = {
    "target classes off": off(1),
    "student classes off": off(0),
    "both off": off(0, 1),
    "all of the target off": off(1, columns=slice(None)),
    "all of the student off": off(0, columns=slice(None)),
    "all off": off(0, 1, columns=slice(None)),
    "one item's off": off(0, 1, rows=slice(0, 1), columns=slice(None)),
    "sure": lambda v, _: torch.where(v == v.amax(-1, keepdim=True), torch.inf, v),
}
OPTIONS = {
    "sparse_cross_entropy": [{"rest": "bin"}],
    "neighbour_kl": [{"width": 5.0}, {"by": "row", "normalise": True}],
    "norm_direction": [{"form": "direction"}, {"form": "norm"}],
    "kl": [{"reverse": True, "temperature": 0.1}],
    "cross_entropy": [{"smoothing": 0.1}],
    "balanced_kl": [{"rule": "flipped", "temperature": 20.0, "delta": 10.0}],
    "class_mean_kl": [{"offset": 1e-5}],
    "correlation": [{"temperature": 4.0}],
}
CASES = []
for name in TERMS.names():
    logits = "logits" in TERMS.metadata(name)["inputs"]
    for case in VECTORS | (LOGITS if logits else {}):
        CASES.append((name, case))


def evaluated(name, arguments, options, dtype, detach=True):
    """(value, gradients) in `dtype`."""
    arguments = [a.to(dtype) if a.is_floating_point() else a for a in arguments]
    arguments = [a.requires_grad_() if a.is_floating_point() else a for a in arguments]
    function = TERMS.get(name)
    more = {} if detach or "detach_target" not in inspect.signature(function).parameters else {"detach_target": False}
    value = function(*arguments, **options, **more)
    floats = [a for a in arguments if a.is_floating_point()]
    slopes = torch.autograd.grad(value.sum(), floats, allow_unused=True) if value.requires_grad else []
    return value, [slope for slope in slopes if slope is not None]


def check(name, arguments, options):
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for detach in (True, False):
            value, slopes = evaluated(name, arguments, options, dtype, detach)
            assert value.dtype == (torch.float64 if dtype is torch.float64 else torch.float32)
            fits = torch.isfinite(value)
            if not fits.all():
                exact, _ = evaluated(name, arguments, options, torch.float64)
                # Infinite is right where the number is larger than the type's largest one.
                assert (value[~fits] == torch.inf).all() and (exact[~fits] > torch.finfo(value.dtype).max).all()
            assert all(torch.isfinite(slope).all() for slope in slopes), (dtype, detach)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_values_and_gradients_are_defined(name, case):
    rows = len(draw(name)[1][0]) if case != "one item" else 1
    for options in [{}, *OPTIONS.get(name, [])]:
        arguments = changed(name, {**VECTORS, **LOGITS}[case])
        check(name, [a[:rows] for a in arguments], options)


@pytest.mark.parametrize("name", [n for n in TERMS.names() if "logits" in TERMS.metadata(n)["inputs"]])
def test_one_class_is_defined(name):
    for options in [{}, *OPTIONS.get(name, [])]:
        check(name, draw(name, classes=1)[1], options)


@pytest.mark.parametrize("name", TERMS.names())
def test_autocast_changes_nothing(name):
    _, arguments = draw(name, seed=3)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        given = [a.to(dtype) if a.is_floating_point() else a for a in arguments]
        plain = TERMS.get(name)(*given)
        with torch.autocast("cpu", torch.bfloat16):
            inside = TERMS.get(name)(*given)
        assert torch.equal(inside, plain) and inside.dtype == plain.dtype
    lifted = [a.bfloat16().float() if a.is_floating_point() else a for a in arguments]
    assert torch.equal(plain, TERMS.get(name)(*lifted))


def test_a_pair_of_types_is_computed_in_the_wider_one():
    a, b = torch.randn(4, 3), torch.randn(4, 3, dtype=torch.float64)
    for name in ("kl", "info_nce", "similarity"):
        torch.testing.assert_close(TERMS.get(name)(a, b), TERMS.get(name)(a.double(), b), rtol=0, atol=0)


def test_terms_forget_what_is_switched_off_for_both():
    (student, target, label), wanted = draw("decoupled_kl")[1], {}
    label = label % 4
    for cut in (False, True):
        s, t = (z[:, :4] if cut else off(0, 1, columns=slice(4, None))(z, 0) for z in (student, target))
        for name in ("decoupled_kl", "nontarget_cross_entropy", "label_probability", "cross_entropy"):
            takes = len(draw(name)[1])
            value = TERMS.get(name)(*(s, t, label) if takes == 3 else (s, label))
            torch.testing.assert_close(value, wanted.setdefault(name, value))


def test_a_target_without_other_classes_ranks_nothing():
    label = torch.zeros(4, dtype=torch.int64)
    student, target = (
        torch.randn(4, 3, dtype=torch.float64),
        off(0, columns=slice(1, None))(torch.randn(4, 3).double(), 0),
    )
    both = TERMS.get("decoupled_kl")(student, target, label, alpha=0.0, temperature=2.0)
    assert not both.any() and not TERMS.get("nontarget_cross_entropy")(student, target, label).any()


def test_scales_that_a_term_forgets_are_forgotten_beyond_the_range_of_squares():
    for name in ("distance_relation", "angle_relation", "info_nce", "nt_xent", "neighbour_kl", "norm_direction"):
        _, (student, *targets) = draw(name, seed=5)
        student, *targets = (v.float() for v in (student, *targets))
        plain = TERMS.get(name)(student, *targets)
        far = TERMS.get(name)(student * 2.0**80, *(v * 2.0**80 for v in targets))
        assert torch.equal(far, plain), name


def test_units_are_the_same_bits_as_without_the_scaling():
    rows = torch.randn(200, 9, generator=torch.Generator().manual_seed(0)) * 37.0
    assert torch.equal(unit(rows), rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True))
    assert (unit(rows * 1e30).square().sum(-1) - 1).abs().max() < 1e-6 and not unit(torch.zeros(2, 3)).any()
    assert power(torch.tensor([3.0, -5.0])).item() == 4.0 and power(torch.zeros(2)).item() == 1.0
    assert torch.isfinite(power(torch.tensor([3.4e38]))).all()


def test_soft_labels_at_the_edge():
    with pytest.raises(ValueError, match="at least 2 classes"):
        label_classes(torch.ones(3, 1))
    everything = zipf_label(torch.rand(3, 2), torch.ones(3, 2, dtype=torch.bool))
    assert not everything.any()
    probs, score = torch.rand(3, 4).bfloat16(), torch.eye(4)[:3].bfloat16()
    assert target_label(probs, score).dtype == rank_scores(probs, probs, score).dtype == torch.float32


def test_wide_reads_keywords_and_leaves_what_is_no_float():
    @wide
    def given(a, *, b, c):
        return a.dtype, b.dtype, c

    half, count = torch.ones(1).half(), torch.ones(1, dtype=torch.int64)
    assert given(half, b=half.double(), c=count) == (torch.float64, torch.float64, count)
    assert given(count, b=half, c="word")[1:] == (torch.float32, "word")


def test_a_value_that_does_not_fit_is_an_error_of_the_training_that_names_the_term():
    data = TensorData({"input": torch.full((4, 2), 1e25), "label": torch.zeros(4, dtype=torch.int64)})

    def terms(batch, s):
        return {"near": squared_error(s.logits_NC, batch.input), "sure": kl(s.logits_NC, batch.input)}

    recipe = fit(Player(Role(nn.Linear(2, 2)), terms), data)
    with pytest.raises(Exception, match="term 'near' is not finite"):
        Trainer(quiet=True).fit(recipe)
