"""Promise 5 for terms whose value for an item depends on the others of its batch.

A new one is tested as soon as it is registered with `relational=True`; it must add its slow formula to SLOW.
"""

import inspect
import math

import pytest
import torch
from toy import probabilities

from embodkd.core.terms import TERMS

N, R, C = 6, 3, 5
NAMES = [name for name in TERMS.names() if TERMS.metadata(name).get("relational") or name == "channel_correlation"]


def pearson(a, b):
    a, b = ([v - sum(x) / len(x) for v in x] for x in (a, b))
    return sum(u * v for u, v in zip(a, b, strict=True)) / math.sqrt(sum(u * u for u in a) * sum(v * v for v in b))


def slow_correlation(s, t, inter=1.0, intra=1.0, temperature=1.0, scale_by_t2=True):
    s, t = ([probabilities([v / temperature for v in row]) for row in rows] for rows in (s, t))
    columns = [pearson(a, b) for a, b in zip(zip(*s, strict=True), zip(*t, strict=True), strict=True)]
    of_batch = intra * (1 - sum(columns) / len(columns))
    values = [inter * (1 - pearson(a, b)) + of_batch for a, b in zip(s, t, strict=True)]
    return [v * temperature**2 if scale_by_t2 else v for v in values]


def smooth_l1(a, b):
    return (a - b) ** 2 / 2 if abs(a - b) < 1 else abs(a - b) - 0.5


def slow_distance_relation(s, t):
    tables = []
    for rows in (s, t):
        table = [[math.dist(a, b) for b in rows] for a in rows]
        mean = sum(map(sum, table)) / (len(rows) * (len(rows) - 1))
        tables.append([[d / mean for d in row] for row in table])
    return [sum(smooth_l1(a, b) for a, b in zip(u, v, strict=True)) / len(u) for u, v in zip(*tables, strict=True)]


def slow_angle_relation(s, t):
    def cosine(rows, i, j, k):
        if i in (j, k):
            return 0.0
        u, v = ([b - a for a, b in zip(rows[i], rows[m], strict=True)] for m in (j, k))
        return sum(a * b for a, b in zip(u, v, strict=True)) / (math.hypot(*u) * math.hypot(*v))

    every = range(len(s))
    return [
        sum(smooth_l1(cosine(s, i, j, k), cosine(t, i, j, k)) for j in every for k in every) / len(s) ** 2
        for i in every
    ]


def slow_edges(rows, neighbours, width, by):
    squared = [[math.dist(a, b) ** 2 for b in rows] for a in rows]
    every = range(len(rows))
    near = [sorted((i for i in every if i != j), key=lambda i: squared[i][j])[:neighbours] for j in every]
    edges = {(i, j) if by == "column" else (j, i) for j in every for i in near[j]}
    width = sum(squared[i][j] for i, j in edges) / len(edges) if width is None else width
    return [[math.exp(-squared[i][j] / (2 * width)) if (i, j) in edges else 0.0 for j in every] for i in every]


def slow_neighbour_kl(
    s, t, neighbours=8, width=None, by="column", normalise=False, student_first=True, temperature=1.0
):
    def rows(z):
        flat = [token for item in z for token in item]
        flat = [[v / math.hypot(*token) for v in token] for token in flat] if normalise else flat
        edges = slow_edges(flat, neighbours, width, by)
        return [probabilities([v / temperature for v in row]) for row in edges]

    pairs = zip(rows(s), rows(t), strict=True) if student_first else zip(rows(t), rows(s), strict=True)
    each = [sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) for p, q in pairs]
    return [sum(each[k : k + R]) / R for k in range(0, len(each), R)]


def slow_affinity_error(s, t):
    def affinity(tokens):
        rows = [[sum(a * b for a, b in zip(u, v, strict=True)) / len(u) ** 0.5 for v in tokens] for u in tokens]
        return [p for row in rows for p in probabilities(row)]

    pairs = [zip(affinity(a), affinity(b), strict=True) for a, b in zip(s, t, strict=True)]
    return [sum((u - v) ** 2 for u, v in pair) / R**2 for pair in pairs]


def slow_info_nce(s, t, temperature=0.1):
    def cosine(a, b):
        return sum(u * v for u, v in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    return [-math.log(probabilities([cosine(a, b) / temperature for b in t])[k]) for k, a in enumerate(s)]


def slow_nt_xent(s, t, temperature=0.3):
    views = [[v / math.hypot(*row) for v in row] for row in (*s, *t)]
    n, each = len(s), []
    for k, a in enumerate(views):
        others = [m for m in range(2 * n) if m != k]
        scores = [sum(u * v for u, v in zip(a, views[m], strict=True)) / temperature for m in others]
        each.append(-math.log(probabilities(scores)[others.index((k + n) % (2 * n))]))
    return [(each[k] + each[k + n]) / 2 for k in range(n)]


def slow_affinity(s, t, scale=50.0, target_scale=None):
    def rows(pairs, heat):
        one, two = ([[v / math.hypot(*row) for v in row] for row in side] for side in zip(*pairs, strict=True))
        directions = (one, two), (two, one)
        return [
            [probabilities([heat * sum(a * b for a, b in zip(u, v, strict=True)) for v in there]) for u in here]
            for here, there in directions
        ]

    q, p = rows(s, scale), rows(t, scale if target_scale is None else target_scale)
    each = [
        [-sum(a * math.log(b) for a, b in zip(*pq, strict=True)) for pq in zip(p[k], q[k], strict=True)] for k in (0, 1)
    ]
    return [(a + b) / 2 for a, b in zip(*each, strict=True)]


def slow_similarity(s, t):
    grams = []
    for rows in (s, t):
        gram = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in rows] for u in rows]
        grams.append([[g / math.hypot(*row) for g in row] for row in gram])
    return [sum((a - b) ** 2 for a, b in zip(u, v, strict=True)) / len(u) for u, v in zip(*grams, strict=True)]


def slow_channel_correlation(s, t):
    def rows(channels):
        gram = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in channels] for u in channels]
        return [[g / math.hypot(*row) for g in row] for row in gram]

    pairs = [zip(rows(a), rows(b), strict=True) for a, b in zip(s, t, strict=True)]
    return [sum(math.dist(u, v) ** 2 for u, v in pair) / R for pair in pairs]


# Plain Python floats (float64), the whole batch at once: nested lists -> one number per item.
SLOW = {
    "correlation": slow_correlation,
    "distance_relation": slow_distance_relation,
    "angle_relation": slow_angle_relation,
    "neighbour_kl": slow_neighbour_kl,
    "affinity_error": slow_affinity_error,
    "info_nce": slow_info_nce,
    "affinity": slow_affinity,
    "similarity": slow_similarity,
    "channel_correlation": slow_channel_correlation,
    "nt_xent": slow_nt_xent,
}
OPTIONS = {
    "neighbour_kl": [
        {"neighbours": 3, "student_first": False, "by": "row"},
        {"neighbours": 2, "normalise": True, "width": 0.5, "temperature": 0.3},
    ],
    "affinity": [{"scale": 3.0, "target_scale": 7.0}],
    "info_nce": [{"temperature": 2.0}],
    "nt_xent": [{"temperature": 1.0}],
    "correlation": [{"temperature": 3.0, "inter": 2.0}, {"temperature": 2.0, "intra": 0.0, "scale_by_t2": False}],
}
# What a term takes from the batch without gradient, held still for finite differences.
WITHOUT_GRADIENT = {"neighbour_kl": {"width": 5.0}}
CASES = [(name, options) for name in NAMES for options in [{}, *OPTIONS.get(name, [])]]


def draw(name, seed=0, dtype=torch.float64):
    """(student, target) for a term."""
    generator = torch.Generator().manual_seed(seed)
    flat, deep = dict.fromkeys(("logits, logits", "vectors"), (N, C)), dict.fromkeys(("tokens", "maps"), (N, R, C))
    shape = {**flat, **deep, "pairs": (N, 2, C)}[TERMS.metadata(name)["inputs"]]
    student, target = (torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2))
    return student, target


@pytest.mark.parametrize(("name", "options"), CASES)
def test_equals_the_slow_formula(name, options):
    student, target = draw(name)
    expected = torch.tensor(SLOW[name](student.tolist(), target.tolist(), **options), dtype=torch.float64)
    torch.testing.assert_close(TERMS.get(name)(student, target, **options), expected)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_stated_minimum_at_student_equal_to_target(name, options):
    if TERMS.metadata(name)["minimum"] == "none":
        return
    student, target = draw(name)
    equal = target.clone().requires_grad_()
    value = TERMS.get(name)(equal, target, **options)
    torch.testing.assert_close(value, torch.zeros(N, dtype=torch.float64), atol=1e-12, rtol=0)
    (slope,) = torch.autograd.grad(value.sum(), equal)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-9, rtol=0)
    assert TERMS.get(name)(student, target, **options).mean() > 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_extreme_inputs_have_finite_values_and_gradients(name, options, dtype):
    student, target = (x.to(dtype) for x in draw(name, dtype=torch.float32))
    student, target = student * 1e4, -target * 1e4
    student[0] = 0
    student[1] = student[2]
    target[2] = 0
    student.requires_grad_()
    value = TERMS.get(name)(student, target, **options)
    value.sum().backward()
    assert value.dtype == torch.float32 and torch.isfinite(value).all() and torch.isfinite(student.grad).all()


@pytest.mark.parametrize(("name", "options"), CASES)
def test_values_follow_their_items_when_the_batch_is_reordered(name, options):
    student, target = draw(name)
    order = torch.tensor([3, 1, 5, 4, 0, 2])
    whole = TERMS.get(name)(student, target, **options)
    torch.testing.assert_close(TERMS.get(name)(student[order], target[order], **options), whole[order])


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_the_target_only_when_asked(name):
    function = TERMS.get(name)
    assert "detach_target" in inspect.signature(function).parameters
    student, target = (x.requires_grad_() for x in draw(name))
    assert torch.autograd.grad(function(student, target).sum(), target, allow_unused=True) == (None,)
    (slope,) = torch.autograd.grad(function(student, target, detach_target=False).sum(), target)
    assert slope.any()


@pytest.mark.parametrize(("name", "options"), CASES)
def test_gradient_is_that_of_finite_differences(name, options):
    student, target = draw(name, seed=3)
    student.requires_grad_()
    fixed = {**WITHOUT_GRADIENT.get(name, {}), **options}
    assert torch.autograd.gradcheck(lambda s: TERMS.get(name)(s, target, **fixed), student)


@pytest.mark.parametrize("name", NAMES)
def test_shapes_that_do_not_agree_are_an_error_not_a_broadcast(name):
    student, target = draw(name)
    with pytest.raises(ValueError, match="shape"):
        TERMS.get(name)(student, target[:1])


def test_a_dead_channel_counts_for_nothing_and_its_gradient_is_finite():
    term = TERMS.get("channel_correlation")
    student, target = draw("channel_correlation")
    student[:, 1] = 0.0
    student.requires_grad_()
    value = term(student, target)
    value.sum().backward()
    assert torch.isfinite(student.grad).all() and student.grad.abs().max() < 1e2
    student.grad[:, 1] = 0.0
    nearly = student.detach().clone()
    nearly[:, 1] = 1e-12
    torch.testing.assert_close(term(nearly, target), value.detach())
    for scale in (1e3, 1e-3):
        torch.testing.assert_close(term(scale * student, target), value)


def test_channels_are_compared_whatever_the_number_and_order_of_their_positions():
    term = TERMS.get("channel_correlation")
    student, target = draw("channel_correlation")
    value = term(student, target)
    torch.testing.assert_close(term(student[:, :, [4, 2, 0, 1, 3]], target), value)
    torch.testing.assert_close(term(student.unsqueeze(-1), torch.cat([target, 0.0 * target], -1)), value)
    assert (value <= 4).all()
    with pytest.raises(ValueError, match="same items and channels"):
        term(student, target[:, :2])
