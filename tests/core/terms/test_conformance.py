"""Promise 5 over every registered term: minimum, slow formula, extreme logits, padding, batch split, detached target.

A new term is tested as soon as it is registered; it must add its slow formula to SLOW.
"""

import inspect
import math

import pytest
import torch
from toy import probabilities

from embodkd.core.terms import TERMS

N, T, C = 5, 4, 7
# Terms whose value for an item depends on the others of its batch, and those of whole maps, which have no mask, are in
# test_relational_terms.py.
NAMES = [name for name in TERMS.names() if not TERMS.metadata(name).get("relational") and name != "channel_correlation"]


def slow_kl(s, t, temperature=1.0, scale_by_t2=True, reverse=False):
    p, q = probabilities([v / temperature for v in t]), probabilities([v / temperature for v in s])
    if reverse:
        p, q = q, p
    total = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)
    return total * temperature**2 if scale_by_t2 else total


def slow_smooth_l1(s, t, beta=1.0):
    values = [abs(a - b) for a, b in zip(s, t, strict=True)]
    return sum(d * d / (2 * beta) if d < beta else d - beta / 2 for d in values) / len(values)


def slow_cross_entropy(s, label, smoothing=0.0):
    logs = [math.log(p) for p in probabilities(s)]
    return -(1 - smoothing) * logs[label] - smoothing * sum(logs) / len(logs)


def slow_norm_direction(s, t, e, form="joint"):
    size_s, size_t, size_e = (math.sqrt(sum(v * v for v in x)) for x in (s, t, e))
    along = sum(a * b for a, b in zip(s, e, strict=True)) / size_e
    joint, direction, norm = along / max(size_s, size_t), along / size_s, size_s / max(size_s, size_t)
    return 1 - {"joint": joint, "direction": direction, "norm": norm}[form]


def slow_decoupled_kl(s, t, label, alpha=1.0, beta=8.0, temperature=4.0):
    p, q = probabilities([v / temperature for v in t]), probabilities([v / temperature for v in s])
    rest_p, rest_q = 1 - p[label], 1 - q[label]
    target = p[label] * math.log(p[label] / q[label]) + rest_p * math.log(rest_p / rest_q)
    pairs = [(a / rest_p, b / rest_q) for k, (a, b) in enumerate(zip(p, q, strict=True)) if k != label]
    return temperature**2 * (alpha * target + beta * sum(a * math.log(a / b) for a, b in pairs))


def slow_class_mean_kl(s, t):
    p, q = probabilities(s), probabilities(t)
    return sum(b * (math.log(b) - math.log(a)) for a, b in zip(p, q, strict=True)) / len(s)


def slow_nontarget_cross_entropy(s, t, label, temperature=1.0):
    rest_s, rest_t = (probabilities([v / temperature for k, v in enumerate(z) if k != label]) for z in (s, t))
    return -(temperature**2) * sum(a * math.log(b) for a, b in zip(rest_t, rest_s, strict=True))


def slow_balanced_kl(
    s, t, temperature=3.0, delta=2.0, forward=1.0, reverse=1.0, rule="spread", sharpness=None, scale_by_t2=True
):
    entropies = [-sum(p * math.log(p) for p in probabilities([v / temperature for v in z])) for z in (s, t)]
    excess = entropies[1] - entropies[0]
    share = float(excess > 0) if sharpness is None else 1 / (1 + math.exp(-sharpness * excess))
    v, u = 1 + (delta - 1) * share, 1 + (delta - 1) * (1 - share)
    v, u = (u, v) if rule == "flipped" else (v, u)
    parts = [slow_kl(s, t, temperature, scale_by_t2, reverse=r) for r in (False, True)]
    return forward * v * parts[0] + reverse * u * parts[1]


def slow_sparse_cross_entropy(s, top, index, rest="spread"):
    logs, left = [math.log(p) for p in probabilities(s)], 1 - sum(top)
    known = -sum(p * logs[k] for p, k in zip(top, index, strict=True))
    others = [logs[k] for k in range(len(s)) if k not in index]
    if rest == "bin":
        return known - left * math.log(sum(math.exp(v) for v in others))
    return known - sum(left / len(others) * v for v in others)


def slow_jensen_shannon(s, t, beta=0.5):
    p, q = probabilities(t), probabilities(s)
    m = [beta * a + (1 - beta) * b for a, b in zip(p, q, strict=True)]
    parts = [sum(a * math.log(a / c) for a, c in zip(x, m, strict=True)) for x in (p, q)]
    return beta * parts[0] + (1 - beta) * parts[1]


# Plain Python floats (float64), one item or position at a time.
SLOW = {
    "squared_error": lambda s, t: sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / len(s),
    "smooth_l1": slow_smooth_l1,
    "cross_entropy": slow_cross_entropy,
    "soft_cross_entropy": lambda s, t: -sum(a * math.log(b) for a, b in zip(t, probabilities(s), strict=True)),
    "sparse_cross_entropy": slow_sparse_cross_entropy,
    "kl": slow_kl,
    "jensen_shannon": slow_jensen_shannon,
    "norm_direction": slow_norm_direction,
    "balanced_kl": slow_balanced_kl,
    "decoupled_kl": slow_decoupled_kl,
    "class_mean_kl": slow_class_mean_kl,
    "offset_entropy": lambda s, offset=1e-5: -sum(p * math.log(p + offset) for p in probabilities(s)) / len(s),
    "nontarget_cross_entropy": slow_nontarget_cross_entropy,
    "label_probability": lambda s, label: probabilities(s)[label],
    "entropy": lambda s: -sum(p * math.log(p) for p in probabilities(s)),
}
OPTIONS = {
    "sparse_cross_entropy": [{"rest": "bin"}],
    "smooth_l1": [{"beta": 0.1}],
    "cross_entropy": [{"smoothing": 0.2}],
    "offset_entropy": [{"offset": 0.01}],
    "decoupled_kl": [{"alpha": 2.5, "beta": 0.5, "temperature": 1.0}],
    "nontarget_cross_entropy": [{"temperature": 3.0}],
    "balanced_kl": [
        {"rule": "flipped", "temperature": 1.0, "delta": 3.0, "forward": 0.5},
        {"sharpness": 4.0, "scale_by_t2": False, "reverse": 0.2},
    ],
    "jensen_shannon": [{"beta": 0.1}, {"beta": 0.9}],
    "norm_direction": [{"form": "direction"}, {"form": "norm"}],
    "kl": [{"temperature": 3.0}, {"temperature": 2.0, "scale_by_t2": False}, {"reverse": True, "temperature": 4.0}],
}
CASES = [(name, options) for name in NAMES for options in [{}, *OPTIONS.get(name, [])]]


def draw(name, *shape, seed=0, dtype=torch.float64):
    """(student, *targets) for a term, of shape (*shape, C)."""
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(*shape, C, generator=generator, dtype=torch.float64).to(dtype)
    other = torch.randn(*shape, C, generator=generator, dtype=torch.float64).to(dtype)
    kind = TERMS.metadata(name)["inputs"]
    top = other.softmax(-1).topk(3)
    return {
        "vectors": (student, other),
        "vectors, vectors, vectors": (student, other, student.roll(1, -1) - 2.0 * other),
        "logits, logits": (student, other),
        "logits, logits, labels": (student, other, torch.randint(C, shape, generator=generator)),
        "logits, probabilities": (student, other.softmax(-1)),
        "logits, top probabilities, top indices": (student, top.values, top.indices),
        "logits, labels": (student, torch.randint(C, shape, generator=generator)),
        "logits": (student,),
    }[kind]


def slow(name, *arguments, **options):
    rows = [a.tolist() for a in arguments]
    return torch.tensor([SLOW[name](*row, **options) for row in zip(*rows, strict=True)], dtype=torch.float64)


def others_last(index_NK):
    """All classes of each item, those of `index_NK` first."""
    known_NC = torch.zeros(len(index_NK), C).scatter_(1, index_NK, 1.0).bool()
    others = torch.arange(C).expand(len(index_NK), C)[~known_NC].reshape(len(index_NK), -1)
    return torch.cat([index_NK, others], 1)


def takes(name, option):
    return option in inspect.signature(TERMS.get(name)).parameters


@pytest.mark.parametrize(("name", "options"), CASES)
def test_equals_the_slow_formula(name, options):
    arguments = draw(name, N)
    torch.testing.assert_close(TERMS.get(name)(*arguments, **options), slow(name, *arguments, **options))


@pytest.mark.parametrize(("name", "options"), CASES)
def test_stated_minimum_at_student_equal_to_target(name, options):
    minimum = TERMS.metadata(name)["minimum"]
    assert minimum in ("zero", "entropy", "none")
    if minimum == "none":
        return
    student, target, *rest = draw(name, N)
    function = TERMS.get(name)
    if minimum == "zero":
        equal = target.clone().requires_grad_()
        expected = torch.zeros(N, dtype=torch.float64)
    elif rest:
        # of what is known of the target, with the rest spread, or as one outcome
        left = (1 - target.sum(-1, keepdim=True)).expand(-1, C - 3) / (C - 3)
        whole = torch.cat([target, left], 1)
        equal = torch.empty_like(student).scatter_(1, others_last(*rest), whole).log().requires_grad_()
        bins = torch.cat([target, left.sum(1, keepdim=True)], 1)
        expected = TERMS.get("entropy")((bins if options.get("rest") == "bin" else whole).log())
    else:
        equal = target.log().requires_grad_()
        expected = TERMS.get("entropy")(target.log())
    value = function(equal, target, *rest, **options)
    torch.testing.assert_close(value, expected, atol=1e-12, rtol=1e-12)
    (slope,) = torch.autograd.grad(value.sum(), equal)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-9, rtol=0)
    assert (function(student, target, *rest, **options) > value.detach() + 1e-6).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_extreme_inputs_have_finite_values_and_gradients(name, options, dtype):
    arguments = draw(name, N, dtype=torch.float32)
    student = (arguments[0] * 1e4).to(dtype)
    student[0] = 0
    student[1] = torch.tensor([1e4] + [-1e4] * (C - 1)).to(dtype)
    student.requires_grad_()
    rest = arguments[1:]
    given = ("logits", "logits, labels", "logits, probabilities", "logits, top probabilities, top indices")
    if TERMS.metadata(name)["inputs"] not in given:
        rest = ((-arguments[1] * 1e4).to(dtype), *rest[1:])
    value = TERMS.get(name)(student, *rest, **options)
    value.sum().backward()
    assert value.dtype == torch.float32 and torch.isfinite(value).all() and torch.isfinite(student.grad).all()


@pytest.mark.parametrize("reverse", [False, True])
def test_classes_switched_off_by_minus_infinity_count_for_nothing(reverse):
    student, target = draw("kl", N)
    off = torch.full((N, 2), -math.inf, dtype=torch.float64)
    wide = torch.cat([student, off], 1).requires_grad_()
    value = TERMS.get("kl")(wide, torch.cat([target, off], 1), reverse=reverse)
    value.sum().backward()
    torch.testing.assert_close(value, TERMS.get("kl")(student, target, reverse=reverse))
    assert torch.isfinite(wide.grad).all() and not wide.grad[:, C:].any()


@pytest.mark.parametrize(("name", "options"), CASES)
def test_padding_changes_neither_value_nor_gradient(name, options):
    arguments = draw(name, N, T)
    lengths = torch.tensor([4, 1, 3, 2, 4])
    mask = torch.arange(T) < lengths[:, None]
    padded = [a.clone() for a in arguments]
    padded[0][~mask] = math.nan
    for other in padded[1:]:
        other[~mask] = math.nan if other.is_floating_point() else -100
    student = padded[0].requires_grad_()
    value = TERMS.get(name)(student, *padded[1:], mask=mask, **options)
    value.sum().backward()
    for k, length in enumerate(lengths):
        own = arguments[0][k : k + 1, :length].clone().requires_grad_()
        alone = TERMS.get(name)(own, *(a[k : k + 1, :length] for a in arguments[1:]), **options)
        torch.testing.assert_close(value[k], alone[0])
        (slope,) = torch.autograd.grad(alone.sum(), own)
        torch.testing.assert_close(student.grad[k, :length], slope[0])
    assert not student.grad[~mask].any()


@pytest.mark.parametrize("name", NAMES)
def test_a_masked_position_averages_over_the_valid_ones_only(name):
    arguments = draw(name, N, T)
    mask = torch.ones(N, T, dtype=torch.bool)
    mask[:, 2] = False
    flat = [a.flatten(0, 1) for a in arguments]
    each = slow(name, *flat).reshape(N, T)
    expected = (each * mask).sum(1) / 3
    torch.testing.assert_close(TERMS.get(name)(*arguments, mask=mask), expected)
    empty = TERMS.get(name)(*arguments, mask=torch.zeros(N, T, dtype=torch.bool))
    assert not empty.any() and torch.isfinite(empty).all()


@pytest.mark.parametrize(("name", "options"), CASES)
def test_each_item_has_its_own_value_whatever_the_batch(name, options):
    arguments = draw(name, N)
    function = TERMS.get(name)
    whole = function(*arguments, **options)
    split = torch.cat([function(*(a[k : k + 1] for a in arguments), **options) for k in range(N)])
    torch.testing.assert_close(whole, split, atol=1e-14, rtol=1e-14)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(function(*(a[order] for a in arguments), **options), whole[order])


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_the_target_only_when_asked(name):
    if not takes(name, "detach_target"):
        assert TERMS.metadata(name)["inputs"] in ("logits, labels", "logits")
        return
    student, target, *rest = draw(name, N)
    student.requires_grad_()
    target.requires_grad_()
    function = TERMS.get(name)
    assert torch.autograd.grad(function(student, target, *rest).sum(), target, allow_unused=True) == (None,)
    (slope,) = torch.autograd.grad(function(student, target, *rest, detach_target=False).sum(), target)
    assert slope.any()


@pytest.mark.parametrize("name", NAMES)
def test_shapes_that_do_not_agree_are_an_error_not_a_broadcast(name):
    arguments = draw(name, N)
    if len(arguments) == 1:
        return
    with pytest.raises(ValueError, match="shape"):
        TERMS.get(name)(arguments[0], arguments[1][:1], *arguments[2:])


def test_kl_gradients_are_the_analytic_ones():
    student, target = draw("kl", N)
    student.requires_grad_()
    p, q = target.softmax(-1), student.detach().softmax(-1)
    (forward,) = torch.autograd.grad(TERMS.get("kl")(student, target).sum(), student)
    torch.testing.assert_close(forward, q - p)
    value = TERMS.get("kl")(student, target, reverse=True)
    (backward,) = torch.autograd.grad(value.sum(), student)
    torch.testing.assert_close(backward, q * ((q / p).log() - value.detach()[:, None]))


def test_temperature_squared_keeps_the_size_of_the_gradient():
    student, target = (x * 1e-3 for x in draw("kl", N))
    student.requires_grad_()
    slopes = []
    for temperature in (1.0, 10.0):
        value = TERMS.get("kl")(student, target, temperature=temperature)
        slopes.append(torch.autograd.grad(value.sum(), student)[0])
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-2, atol=1e-8)


def test_impossible_options_are_refused():
    student, target = draw("kl", N)
    with pytest.raises(ValueError, match="temperature must be positive"):
        TERMS.get("kl")(student, target, temperature=0.0)
    with pytest.raises(ValueError, match="beta must be positive"):
        TERMS.get("smooth_l1")(student, target, beta=0.0)
