"""TRG: the graph, the invariances of its three terms, its tokens, its schedule, and what it measures."""

import math

import numpy as np
import pytest
import torch
from rows import C, budget, images, large_cnn, small_cnn
from torch import nn

from embodkd.core import Signals, Splits, TensorData, affinity_error, info_nce, neighbour_kl
from embodkd.core.batch.pieces import prepared
from embodkd.core.terms.neighbours import gaussian_edges, nearest, squared_distances
from embodkd.methods import get_method
from embodkd.models import make_model
from embodkd.parts.networks.patch_tokens import at_places, grid_tokens, random_places, token_width

TRG = get_method("trg")
N, R, D, K = 6, 3, 5, 4


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turn(width, seed=7):
    return torch.linalg.qr(draw(width, width, seed=seed)).Q


@pytest.mark.parametrize("term", [neighbour_kl, affinity_error])
def test_equal_tokens_lose_nothing_whatever_the_side_is_turned(term):
    t = draw(N, R, D)
    zero = torch.zeros(N, dtype=torch.float64)
    torch.testing.assert_close(term(t @ turn(D), t), zero, atol=1e-12, rtol=0)
    s = draw(N, R, D + 2, seed=1)
    value = term(s, t)
    assert (value > 0).all()
    torch.testing.assert_close(term(s @ turn(D + 2), t @ turn(D)), value)


def test_neighbourhoods_do_not_know_the_scale_nor_the_order_of_tokens():
    s, t = draw(N, R, D + 2, seed=1), draw(N, R, D)
    value = neighbour_kl(s, t, neighbours=K)
    torch.testing.assert_close(neighbour_kl(s * 100, t / 100, neighbours=K), value)
    assert not torch.allclose(neighbour_kl(s * 100, t, neighbours=K, width=1.0), value)
    order, within = torch.tensor([3, 1, 5, 0, 2, 4]), torch.tensor([2, 0, 1])
    torch.testing.assert_close(neighbour_kl(s[order][:, within], t[order][:, within], neighbours=K), value[order])
    inner = affinity_error(s, t)
    torch.testing.assert_close(affinity_error(s[:, within], t[:, within]), inner)


def test_an_items_own_affinities_do_not_depend_on_the_batch():
    s, t = draw(N, R, D), draw(N, R, D, seed=1)
    alone = torch.cat([affinity_error(s[k : k + 1], t[k : k + 1]) for k in range(N)])
    torch.testing.assert_close(affinity_error(s, t), alone)


def test_tokens_matched_with_themselves_are_found_better_than_in_any_other_order():
    t = draw(4, 1, D)
    own = info_nce(t, t).mean()
    generator = torch.Generator().manual_seed(0)
    others = [info_nce(t[torch.randperm(4, generator=generator)], t).mean() for _ in range(30)]
    assert own == min([own, *others]) and max(others) > own + 0.1


def test_a_hot_contrast_tends_to_the_logarithm_of_the_number_of_tokens():
    s, t = draw(N, R, D), draw(N, R, D, seed=1)
    torch.testing.assert_close(info_nce(s, t, temperature=1e8), torch.full((N,), math.log(N * R), dtype=torch.float64))
    each = torch.linspace(0.1, 1.0, N, dtype=torch.float64)
    for k in range(N):
        torch.testing.assert_close(info_nce(s, t, temperature=each)[k], info_nce(s, t, temperature=float(each[k]))[k])
    with pytest.raises(ValueError, match="temperature must be positive"):
        info_nce(s, t, temperature=0.0)


@pytest.mark.parametrize("by", ["column", "row"])
def test_the_graph_has_k_edges_a_column_or_row_and_is_symmetric_where_neighbours_are_mutual(by):
    rows = draw(20, D)
    edges = gaussian_edges(rows, K, by=by)
    chosen = edges > 0
    assert (chosen.sum(0 if by == "column" else 1) == K).all() and not chosen.diagonal().any()
    assert (edges >= 0).all() and (edges <= 1).all()
    both = chosen & chosen.T
    assert torch.equal(edges[both], edges.T[both]) and (chosen & ~chosen.T).any()
    squared = squared_distances(rows)
    mean = float(squared[chosen].mean())
    torch.testing.assert_close(edges[chosen], torch.exp(-squared[chosen] / (2 * mean)))
    torch.testing.assert_close(gaussian_edges(rows, K, by=by, width=mean), edges)


def test_a_graph_of_few_or_equal_tokens_stays_finite():
    assert nearest(squared_distances(draw(3, D)), 8).sum() == 6
    for tokens in (torch.zeros(N, R, D), torch.ones(1, 1, D), torch.ones(1, 2, D)):
        s = tokens.clone().requires_grad_()
        value = neighbour_kl(s, tokens) + affinity_error(s, tokens) + info_nce(s, tokens)
        value.sum().backward()
        assert torch.isfinite(value).all() and torch.isfinite(s.grad).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_tokens_keep_values_and_gradients_finite(dtype):
    s, t = ((draw(N, R, D, seed=k) * 1e4).to(dtype) for k in (0, 1))
    s[0] = 0
    s[1] = s[2]
    s.requires_grad_()
    value = (
        neighbour_kl(s, t) + neighbour_kl(s, t, width=1e-6) + affinity_error(s, t) + info_nce(s, t, temperature=0.01)
    )
    value.sum().backward()
    assert value.dtype == torch.float32 and torch.isfinite(value).all() and torch.isfinite(s.grad).all()


def test_one_token_of_the_whole_map_makes_a_graph_of_images():
    maps = [draw(N, d, 4, 4, seed=d) for d in (5, 7)]
    s, t = (grid_tokens(z, 1) for z in maps)
    pooled = [z.mean((2, 3)) for z in maps]
    rows = [gaussian_edges(z, K).log_softmax(1) for z in pooled]
    expected = (rows[0].exp() * (rows[0] - rows[1])).sum(1)
    torch.testing.assert_close(neighbour_kl(s, t, neighbours=K), expected)


def test_tokens_are_the_cells_of_the_grid_row_by_row():
    plain = draw(2, D, 4, 4)
    tokens = grid_tokens(plain, 2)
    for cell in range(4):
        rows, columns = slice(2 * (cell // 2), 2 * (cell // 2) + 2), slice(2 * (cell % 2), 2 * (cell % 2) + 2)
        torch.testing.assert_close(tokens[:, cell], plain[:, :, rows, columns].mean((2, 3)))
    patches = plain.flatten(2).transpose(1, 2)
    with_class = torch.cat([draw(2, 1, D, seed=3), patches], 1)
    torch.testing.assert_close(grid_tokens(with_class, 2), tokens)
    assert token_width((D, 4, 4)) == token_width((17, D)) == D
    with pytest.raises(ValueError, match="16 tokens are not a class token and a square"):
        grid_tokens(patches, 2)
    with pytest.raises(ValueError, match="neither a map nor tokens"):
        grid_tokens(draw(2, D), 2)


def test_places_are_different_random_cells_shared_by_both_networks():
    batch = Signals(input=torch.zeros(500, 1))
    torch.manual_seed(0)
    place = random_places(3, 4)(batch)["place"]
    assert place.shape == (500, 4) and all(len(set(row)) == 4 for row in place.tolist())
    assert (torch.bincount(place.flatten(), minlength=9) / 500 - 4 / 9).abs().max() < 0.1
    tokens = draw(500, 9, D)
    chosen = at_places(tokens, place)
    assert torch.equal(chosen[7, 2], tokens[7, place[7, 2]])
    assert random_places(3, 9)(batch)["place"].sort(1).values.equal(torch.arange(9).expand(500, 9))
    with pytest.raises(ValueError, match="needs 1 to 9"):
        random_places(3, 10)


def player_and_batch(student=None, **options):
    data = images()
    recipe = TRG(**{"neighbours": K, **options}).recipe(student or small_cnn(), large_cnn(), data, budget=budget())
    stage = recipe.stages[0]
    torch.manual_seed(0)
    player = stage.players[0]
    return player, player.at(prepared(data.train.gather(np.arange(16), 0), stage.prepare), 0, 6)


def terms(player, batch):
    given = {name: role.signals(batch) for name, role in player.given.items()}
    s = player.train.signals(batch)
    return player.terms(batch, s, **given), s, given["t"]


def test_terms_are_those_of_the_equation_on_the_drawn_tokens():
    player, batch = player_and_batch()
    found, s, t = terms(player, batch)
    s_all, t_all = (z["map"].flatten(2).transpose(1, 2) for z in (s, t))
    s_few, t_few = (torch.stack([z[k, p] for k, p in enumerate(batch.place)]) for z in (s_all, t_all))
    torch.testing.assert_close(found["inner"], affinity_error(s_all, t_all))
    torch.testing.assert_close(found["local"], neighbour_kl(s_few, t_few, neighbours=K))
    projected = player.helpers["projection"](s_few)
    torch.testing.assert_close(found["contrast"], info_nce(projected, t_few, temperature=0.5))
    sampled, s, t = terms(*player_and_batch(inner_sampled=True))
    assert not torch.allclose(sampled["inner"], found["inner"])


@pytest.mark.parametrize("name", ["inner", "local", "contrast"])
def test_every_relation_teaches_the_student_and_not_the_teacher(name):
    player, batch = player_and_batch()
    teacher = player.given["t"].model.requires_grad_(True)
    terms(player, batch)[0][name].sum().backward()
    assert all(p.grad is None for p in teacher.parameters())
    first = next(iter(player.train.model.parameters()))
    assert first.grad is not None and first.grad.any()
    projection = player.helpers["projection"].weight
    assert (projection.grad is not None) == (name == "contrast") and projection.shape == (16, 8)


def test_the_contrast_cools_down_and_may_stay():
    player, _ = player_and_batch()
    batch = images().train.gather(np.arange(4), 0)
    heat = [float(player.at(batch, step, 50).contrast_temperature_N[0]) for step in range(50)]
    assert heat[0] == pytest.approx(0.5) and heat[-1] == pytest.approx(0.07)
    assert (np.diff(heat) < 0).all()
    still, _ = player_and_batch(contrast_temperature=0.2)
    assert {float(still.at(batch, step, 50).contrast_temperature_N[0]) for step in range(50)} == {
        float(np.float32(0.2))
    }


def test_transformers_and_inner_layers_give_tokens_too():
    vit = pytest.importorskip("transformers") and make_model("vit", (1, 8, 8), C, patch=2, width=8, depth=1, heads=2)
    for student, options in ((vit, {}), (small_cnn(), {"student_tap": "layers.0", "grid": 2, "sampled": 3})):
        player, batch = player_and_batch(student, **options)
        assert all(torch.isfinite(value).all() for value in terms(player, batch)[0].values())


def test_a_model_without_map_or_tokens_is_an_error():
    flat = make_model("mlp", (1, 8, 8), C, hidden=(8,))
    with pytest.raises(ValueError, match="needs a map or tokens"):
        player_and_batch(flat)


def test_agreement_counts_shared_neighbours_and_the_tail_the_rare_classes():
    data, teacher = images(), large_cnn()
    method = TRG(neighbours=K)
    assert method.measures(teacher, teacher, data) == {"neighbour_agreement": pytest.approx(1.0)}

    class Scaled(nn.Module):
        def forward(self, x):
            found = teacher(x)
            return {**found, "map": torch.rand_like(found["map"])}

    assert method.measures(Scaled(), teacher, data)["neighbour_agreement"] < 0.2
    label = data.train.fields["label"]
    few = TensorData({k: v[(label > 0) | (torch.arange(len(label)) < 6)] for k, v in data.train.fields.items()})
    tailed = Splits(few, data.validation, data.test, classes=C, shape=data.shape)
    test = data.test.fields
    rare = test["label"] == 0
    right = teacher(test["input"])["logits"].argmax(1)[rare] == 0
    assert method.measures(teacher, teacher, tailed)["tail_accuracy"] == pytest.approx(
        100 * float(right.double().mean())
    )
