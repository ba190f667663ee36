"""A residual policy: the base at first, small corrections later, the base never touched, one folder for both."""

import numpy as np
import pytest
import torch
from embodkd.policies import load_policy, make_policy, residual_on, save_policy

from embodkd.core.sources.group import GroupFacts

TASK = {"name": "any", "control_hz": 10.0}


def make_base(groups, name="mlp_chunk", seed=0, **options):
    """A base with ranges and weights of its own, four actions per chunk."""
    small = {"mlp_chunk": {"width": 16, "blocks": 1, "horizon": 4}}
    small["diffusion"] = {"widths": (8, 16), "horizon": 8, "execute": 4, "steps": 2}
    torch.manual_seed(seed)
    base = make_policy(name, groups, 3, **{**small[name], **options})
    rng = np.random.default_rng(seed)
    rows = {n: rng.normal(size=(50, *groups[n].shape)).astype(np.float32) for n in base.reads}
    base.fit_normalisers(rows, rng.uniform(-0.6, 0.9, (50, 3)).astype(np.float32))
    return base.eval()


def wake(residual, seed=1):
    """A head that says something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        residual.head[-1].weight.copy_(torch.randn(residual.head[-1].weight.shape, generator=generator))
    return residual


def look(residual, rng, count=5):
    return {n: rng.normal(size=(count, *i.shape)).astype(np.float32) for n, i in residual.inputs.items()}


def run(policy, steps=10, copies=5, seed=3, begun=()):
    rng, session, actions = np.random.default_rng(seed), policy.session(copies), []
    for step in range(steps):
        if step in begun:
            session.begin(np.array([1, 4]))
        actions.append(session.act(look(policy, rng, copies)))
    return np.stack(actions)


@pytest.mark.parametrize("every", [1, 2, 4])
@pytest.mark.parametrize("name", ["mlp_chunk", "diffusion"])
def test_a_new_residual_is_its_base_to_the_bit(name, every, groups):
    base = make_base(groups, name)
    residual = residual_on(base, every=every)
    np.testing.assert_array_equal(run(residual, begun=(3, 5)), run(base, begun=(3, 5)))
    obs = look(base, np.random.default_rng(0))
    np.testing.assert_array_equal(residual.act(obs), base.act(obs))


def test_with_alpha_zero_it_stays_its_base_whatever_the_head_says(groups):
    base = make_base(groups)
    np.testing.assert_array_equal(run(wake(residual_on(base, alpha=0.0))), run(base))


def test_the_sum_is_the_formula_of_the_paper(groups):
    base = make_base(groups)
    residual = wake(residual_on(base, alpha=0.05))
    obs = look(base, np.random.default_rng(0))
    low, high = base.actions.low.double().numpy(), base.actions.high.double().numpy()
    chunk_NA = base.session(5).next_base(obs)
    state_ND = np.concatenate([obs[n] for n in base.vectors], axis=1)
    ends = base.normaliser
    state_ND = np.clip(2 * (state_ND - ends.low.numpy()) / (ends.high - ends.low).numpy() - 1, -3, 3)
    x_NF = np.concatenate([state_ND, chunk_NA], axis=1)
    for layer in residual.head:
        if isinstance(layer, torch.nn.Linear):
            x_NF = x_NF @ layer.weight.detach().numpy().T + (0 if layer.bias is None else layer.bias.detach().numpy())
        else:
            x_NF = np.maximum(x_NF, 0)
    wanted = (chunk_NA + 0.05 * x_NF + 1) / 2 * (high - low) + low
    np.testing.assert_allclose(residual.session(5).act(obs), np.clip(wanted, -1, 1), atol=1e-5)
    np.testing.assert_allclose(residual.act(obs), np.clip(wanted, -1, 1), atol=1e-5)


def test_it_answers_at_once_where_the_base_waits_for_its_next_chunk(groups):
    base = make_base(groups)
    for policy, waits in ((base, True), (wake(residual_on(base)), False), (wake(residual_on(base, every=4)), True)):
        rng = np.random.default_rng(0)
        here, moved = policy.session(2), policy.session(2)
        for step in range(5):
            obs = look(policy, rng, 2)
            shifted = {**obs, "privileged": obs["privileged"] + np.float32(0.1 * (step > 0))}
            same = np.array_equal(here.act(obs), moved.act(shifted))
            assert same == (step == 0 or (waits and step < 4)), (type(policy).__name__, step)


@pytest.mark.parametrize("every", [1, 2, 4])
def test_a_batch_is_bit_for_bit_a_loop_of_singles_and_a_reset_touches_no_other_copy(every, groups):
    residual = wake(residual_on(make_base(groups, "diffusion"), every=every))
    rng = np.random.default_rng(1)
    together, singles = residual.session(5), [residual.session(1) for _ in range(5)]
    for step in range(10):
        if step in (3, 6):
            together.begin(np.array([2]))
            singles[2].begin()
        obs = look(residual, rng)
        rows = [s.act({n: v[i : i + 1] for n, v in obs.items()}) for i, s in enumerate(singles)]
        np.testing.assert_array_equal(together.act(obs), np.concatenate(rows))


def test_only_the_rows_asked_for_move_on(groups):
    residual = wake(residual_on(make_base(groups)))
    rng = np.random.default_rng(1)
    obs = look(residual, rng)
    one, other = residual.session(5), residual.session(5)
    ids = np.array([3, 0])
    part = one.act({n: v[ids] for n, v in obs.items()}, ids)
    np.testing.assert_array_equal(part, other.act(obs)[ids])


@pytest.mark.parametrize(("inputs", "wanted"), [(68, 86_016), (54, 82_432), (47, 80_640)])
def test_sizes_are_those_of_the_released_actor(inputs, wanted):
    groups = {
        "proprio": GroupFacts("proprio", (16,), False),
        "privileged": GroupFacts("privileged", (inputs - 26,), True),
    }
    policy = make_policy("residual", groups, 10, base="mlp_chunk", base_arguments={"width": 8})
    assert policy.seen_size == inputs
    assert sum(p.numel() for p in policy.head.parameters()) == wanted
    assert sum(p.numel() for p in policy.parameters() if p.requires_grad) == wanted


def test_initial_weights_are_those_of_the_card(groups):
    torch.manual_seed(0)
    head = residual_on(make_base(groups)).head
    assert head[-1].bias is None and not head[-1].weight.any()
    for layer in (head[0], head[2]):
        assert not layer.bias.any()
        assert layer.weight.std().item() == pytest.approx((2 / layer.in_features) ** 0.5, rel=0.05)


def test_no_parameter_of_the_base_gets_a_gradient_but_its_action_does(groups):
    residual = wake(residual_on(make_base(groups))).train()
    assert not residual.base.training and residual.training
    obs = {n: torch.from_numpy(v) for n, v in look(residual, np.random.default_rng(0)).items()}
    residual(obs).square().sum().backward()
    assert all(p.grad is None for p in residual.base.parameters())
    assert all(p.grad.abs().sum() > 0 for p in residual.head.parameters())
    base_NEA = torch.zeros(5, 1, 3, requires_grad=True)
    residual.head(residual.seen(obs, base_NEA)).sum().backward()
    assert base_NEA.grad.abs().sum() > 0


def test_the_bases_ranges_are_frozen(groups):
    residual = residual_on(make_base(groups))
    before = residual.normaliser.low.clone()
    residual.update_statistics({n: v * 100 for n, v in look(residual, np.random.default_rng(0)).items()})
    assert torch.equal(residual.normaliser.low, before) and residual.normaliser is residual.base.normaliser


@pytest.mark.parametrize("name", ["mlp_chunk", "diffusion"])
def test_one_folder_holds_both(name, groups, tmp_path):
    residual = wake(residual_on(make_base(groups, name), every=2, alpha=0.2, hidden=(8,)))
    folder = save_policy(tmp_path / "policy", residual, task=TASK)
    loaded, meta = load_policy(folder)
    assert meta["policy"] == "residual" and meta["arguments"]["base"] == name
    np.testing.assert_array_equal(run(loaded), run(residual))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors missing"):
        load_policy(folder)


def test_it_can_do_without_the_bases_action(groups):
    residual = wake(residual_on(make_base(groups), sees_base=False))
    assert residual.seen_size == residual.normaliser.size
    assert run(residual).shape == (10, 5, 3)


def test_mistakes_are_explained(groups):
    with pytest.raises(ValueError, match=r"every=3 does not divide the 4 actions"):
        residual_on(make_base(groups), every=3)
    with pytest.raises(ValueError, match="'mlp' predicts no chunks"):
        make_policy("residual", groups, 3, base="mlp")
    with pytest.raises(ValueError, match="did you mean 'alpha'"):
        residual_on(make_base(groups), alhpa=0.1)


def test_a_copy_of_the_base_starts_as_the_base_and_moves_without_it(groups):
    base = make_base(groups, dropout=0.5)
    residual = residual_on(base, every=4, fine_tune=True, alpha=0.5)
    np.testing.assert_array_equal(run(residual, begun=(3, 5)), run(base, begun=(3, 5)))
    frozen = {name: value.clone() for name, value in base.state_dict().items()}
    with torch.no_grad():
        residual.head.layers[-1].bias.add_(0.25)
    # a copy that says 0.25 more moves the normalised actions by 0.25, whatever alpha
    half = (base.actions.high - base.actions.low).numpy() / 2
    np.testing.assert_allclose(run(residual) - run(base), np.broadcast_to(0.25 * half, run(base).shape), atol=1e-5)
    assert all(torch.equal(value, residual.base.state_dict()[name]) for name, value in frozen.items())
    assert all(p.requires_grad for p in residual.head.parameters())
    assert not residual.train().head.training


@pytest.mark.parametrize("wrong", [{"every": 1}, {"sees_base": False}, {"bounded": True}, {"name": "diffusion"}])
def test_only_a_whole_chunk_of_an_mlp_can_be_copied(groups, wrong):
    base = make_base(groups, wrong.pop("name", "mlp_chunk"))
    with pytest.raises(ValueError, match="fine_tune"):
        residual_on(base, **{"every": 4, "fine_tune": True, **wrong})
