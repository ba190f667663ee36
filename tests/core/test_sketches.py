"""Three cards written in the core's words, to show that the words are enough: NKD, BD-KD and a stored teacher."""

import copy

import pytest
import torch
from torch import nn
from toy import fingerprint

from embodkd.core import (
    Player,
    Recipe,
    Role,
    Signals,
    TensorData,
    Trainer,
    cross_entropy,
    entropy,
    fit,
    kl,
    soft_cross_entropy,
)

C = 5


def network(seed, width=16, dtype=torch.float32):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, C)).to(dtype)


def data(n=120, replay=None):
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(0))
    return TensorData({"input": x, "label": x[:, :C].argmax(1)}, replay=replay)


def train(recipe, **options):
    return Trainer(quiet=True, **options).fit(recipe)


def without_label(logits_NC, label_N):
    keep = torch.ones_like(logits_NC, dtype=torch.bool).scatter_(1, label_N[:, None], False)
    return logits_NC[keep].reshape(len(logits_NC), -1)


def normalised_kd(logits_NC, target_logits_NC, label_N, gamma, temperature):
    """NKD's two parts: -T_t log S_t - gamma * temperature^2 * sum over the other classes of T^ log S^."""
    target_N = target_logits_NC.softmax(1).gather(1, label_N[:, None]).squeeze(1).detach()
    rest_s, rest_t = (without_label(z, label_N) / temperature for z in (logits_NC, target_logits_NC))
    others_N = soft_cross_entropy(rest_s, rest_t.softmax(1))
    return target_N * cross_entropy(logits_NC, label_N) + gamma * temperature**2 * others_N


def nkd(student, teacher, source, gamma=1.5, temperature=1.0, **stage):
    def terms(batch, s, t):
        return {
            "ce": cross_entropy(s.logits_NC, batch.label_N),
            "nkd": normalised_kd(s.logits_NC, t.logits_NC, batch.label_N, gamma, temperature),
        }

    return fit(Player(Role(student), terms, given={"t": Role(teacher, "frozen")}), source, **stage)


def test_nkd_identity_of_its_card():
    """At temperature 1, CE(T, S) = -T_t log S_t - (1 - T_t) [sum T^ log S^ + log(1 - S_t)]."""
    s, t = (torch.randn(9, C, dtype=torch.float64) for _ in range(2))
    label = torch.randint(C, (9,))
    t_N, s_N = (z.softmax(1).gather(1, label[:, None]).squeeze(1) for z in (t, s))
    target_part = normalised_kd(s, t, label, 0.0, 1.0)
    others = normalised_kd(s, t, label, 1.0, 1.0) - target_part
    full = soft_cross_entropy(s, t.softmax(1))
    torch.testing.assert_close(full, target_part + (1 - t_N) * (others - (1 - s_N).log()))
    shifted = s.scatter_add(1, label[:, None], torch.full((9, 1), 3.0, dtype=torch.float64))
    moved = normalised_kd(shifted, t, label, 1.0, 2.0) - normalised_kd(shifted, t, label, 0.0, 2.0)
    still = normalised_kd(s, t, label, 1.0, 2.0) - normalised_kd(s, t, label, 0.0, 2.0)
    torch.testing.assert_close(moved, still)


def test_nkd_learns_from_its_teacher():
    teacher, student = network(1), network(0, width=4)
    train(
        fit(
            Player(Role(teacher), lambda b, s: {"ce": cross_entropy(s.logits_NC, b.label_N)}),
            data(),
            epochs=40,
            batch_size=30,
        )
    )
    first = train(nkd(student, teacher, data(), batch_size=120)).last["student/nkd"]
    assert train(nkd(student, teacher, data(), epochs=40, batch_size=30)).last["student/nkd"] < first


def bdkd(small, large, source, delta=2.0, temperature=3.0, kd=True, **stage):
    """Two networks from scratch on the same batches, each seen by the other without gradient."""
    a, b = Role(large), Role(small)

    def rule(batch, s, t):
        over_N = entropy(t.logits_NC, temperature=temperature) > entropy(s.logits_NC, temperature=temperature)
        return torch.where(over_N, delta, 1.0).detach()

    def student(batch, s, t):
        pair = (s.logits_NC, t.logits_NC)
        forward_N = kl(*pair, temperature=temperature)
        backward_N = kl(*pair, temperature=temperature, reverse=True)
        return {"ce": cross_entropy(s.logits_NC, batch.label_N), "forward": forward_N, "reverse": backward_N}

    def teacher(batch, s, t):
        return {
            "ce": cross_entropy(s.logits_NC, batch.label_N),
            "kl": kl(s.logits_NC, t.logits_NC, temperature=temperature),
        }

    def opposite(batch, s, t):
        return 1.0 + delta - rule(batch, s, t)

    weights = {"forward": rule, "reverse": opposite} if kd else {"forward": 0.0, "reverse": 0.0}
    players = [
        Player(b, student, given={"t": a}, weights=weights),
        Player(a, teacher, given={"t": b}, weights={} if kd else {"kl": 0.0}, name="teacher"),
    ]
    return fit(players, source, **stage)


def test_bdkd_without_its_terms_is_two_independent_trainings_bit_for_bit():
    small, large, alone_small, alone_large = network(0, 4), network(1), network(0, 4), network(1)
    train(bdkd(small, large, data(), kd=False, epochs=3, batch_size=30))
    for model in (alone_small, alone_large):
        terms = lambda b, s: {"ce": cross_entropy(s.logits_NC, b.label_N)}  # noqa: E731
        train(fit(Player(Role(model), terms), data(), epochs=3, batch_size=30))
    assert fingerprint(small) == fingerprint(alone_small) and fingerprint(large) == fingerprint(alone_large)


def test_bdkd_looks_at_both_networks_before_either_moves_and_keeps_their_gradients_apart():
    """One update of each network equals plain torch on the outputs before the update."""
    small, large = network(0, 4, torch.float64), network(1, 16, torch.float64)
    twins = network(0, 4, torch.float64), network(1, 16, torch.float64)
    source = TensorData({"input": torch.randn(7, 6, dtype=torch.float64), "label": torch.arange(7) % C})
    train(bdkd(small, large, source, delta=1.0, batch_size=7))
    batch = source.gather(torch.arange(7).numpy(), 0)
    zs, zt = (twin(batch.input) for twin in twins)
    loss_small = (
        cross_entropy(zs, batch.label) + kl(zs, zt, temperature=3.0) + kl(zs, zt, temperature=3.0, reverse=True)
    )
    loss_large = cross_entropy(zt, batch.label) + kl(zt, zs, temperature=3.0)
    for model, twin, loss in ((small, twins[0], loss_small), (large, twins[1], loss_large)):
        optimiser = torch.optim.Adam(twin.parameters(), 1e-3)
        optimiser.zero_grad()
        loss.mean().backward(retain_graph=True, inputs=list(twin.parameters()))
        optimiser.step()
        for moved, expected in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(moved, expected, rtol=1e-9, atol=1e-12)


class Bank:
    """What one pass of a teacher leaves behind, keyed by sample id; it answers like a role."""

    def __init__(self, teacher, source, k):
        self.teacher, self.source, self.k = teacher, source, k
        self.calls = 0

    def fill(self, context):
        everything = self.source.gather(torch.arange(self.source.size()).numpy(), 0)
        probabilities = self.teacher.signals(everything).logits_NC.softmax(1)
        self.calls += 1
        self.probs, self.index = probabilities.topk(self.k)
        return {"bank/mass": float(self.probs.sum(1).mean())}

    def signals(self, batch):
        return Signals({"probs": self.probs[batch.sample_id], "index": self.index[batch.sample_id]})


def sparse_target(probs_NK, index_NK, classes):
    """The rest of the mass is spread evenly over the classes that were not stored."""
    k = probs_NK.shape[1]
    rest = (1.0 - probs_NK.sum(1, keepdim=True)).clamp(min=0.0) / max(1, classes - k)
    return rest.expand(-1, classes).scatter(1, index_NK, probs_NK)


def from_bank(student, teacher, source, k, **stage):
    bank = Bank(Role(teacher, "frozen"), source, k)

    def terms(batch, s, t):
        return {"kd": soft_cross_entropy(s.logits_NC, sparse_target(t.probs_NK, t.index_NK, C))}

    learning = fit(Player(Role(student), terms, given={"t": bank}), source, **stage)
    return bank, Recipe((bank.fill, *learning.stages), student)


def test_a_full_bank_equals_the_live_teacher_and_runs_it_once():
    stored, live, teacher = network(0, 4), network(0, 4), network(1)
    bank, recipe = from_bank(stored, teacher, data(), k=C, epochs=3, batch_size=30)
    train(recipe)
    assert bank.calls == 1

    def terms(batch, s, t):
        return {"kd": soft_cross_entropy(s.logits_NC, t.logits_NC.softmax(1))}

    train(fit(Player(Role(live), terms, given={"t": Role(teacher, "frozen")}), data(), epochs=3, batch_size=30))
    for a, b in zip(stored.parameters(), live.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_sparse_target_is_a_distribution_that_keeps_the_stored_part():
    probs, index = torch.randn(8, C).softmax(1).topk(2)
    dense = sparse_target(probs, index, C)
    torch.testing.assert_close(dense.sum(1), torch.ones(8))
    torch.testing.assert_close(dense.gather(1, index), probs)


def test_an_augmented_view_is_rebuilt_from_its_stored_seed():
    """The view that a teacher saw while the bank was filled is the one that the student sees in the same epoch."""

    def jitter(batch):
        noise = [torch.randn(6, generator=torch.Generator().manual_seed(int(s))) for s in batch.augment_seed_N]
        return batch["input"] + torch.stack(noise)

    source = data(replay="augment_seed")
    index = torch.arange(20).numpy()
    whole = jitter(source.gather(index, 4))
    parts = torch.cat([jitter(source.gather(index[k : k + 7], 4)) for k in range(0, 20, 7)])
    assert torch.equal(whole, parts) and not torch.equal(whole, jitter(source.gather(index, 5)))
    seen = []

    def terms(batch, s):
        seen.append(batch.augment_seed_N)
        return {"ce": cross_entropy(s.logits_NC, batch.label_N)}

    train(fit(Player(Role(network(0), view=jitter), terms), source, epochs=2, batch_size=120))
    assert not torch.equal(seen[0].sort().values, seen[1].sort().values)


@pytest.mark.parametrize("recipe", ["nkd", "bdkd", "bank"])
def test_each_sketch_is_repeatable(recipe):
    def once():
        student, teacher = network(0, 4), network(1)
        options = {"epochs": 2, "batch_size": 30}
        if recipe == "bank":
            train(from_bank(student, teacher, data(), k=2, **options)[1], seed=1)
        else:
            train({"nkd": nkd, "bdkd": bdkd}[recipe](student, teacher, data(), **options), seed=1)
        return fingerprint(student)

    assert once() == once()


def test_an_adversary_and_a_generator_share_a_critic_without_mixing_gradients():
    """The generator learns through the critic that another player trains: one update equals plain torch."""
    maker, critic = network(2).double(), nn.Linear(C, 1, dtype=torch.float64)
    twins = copy.deepcopy(maker), copy.deepcopy(critic)
    x = torch.randn(7, 6, dtype=torch.float64)
    source = TensorData({"input": x, "real": torch.randn(7, C, dtype=torch.float64)})

    def judge(batch, s, fake):
        assert not fake.logits.requires_grad
        return {"gap": (critic(fake.logits_NC) - s.score_NS).squeeze(1)}

    role = Role(maker)

    def fool(batch, s):
        through = Role(critic, "passthrough", view="made", output="score")
        return {"score": through.signals(batch.merge(made=s.logits_NC)).score_NS.squeeze(1)}

    players = [
        Player(Role(critic, view="real", output="score"), judge, given={"fake": role}, name="critic"),
        Player(role, fool, ascent=True, name="maker"),
    ]
    train(fit(players, source, batch_size=7))
    made = twins[0](x)
    gap = (twins[1](made.detach()) - twins[1](source.gather(torch.arange(7).numpy(), 0).real)).mean()
    pairs = [(critic, twins[1], gap), (maker, twins[0], -twins[1](made).mean())]
    slopes = [torch.autograd.grad(loss, list(twin.parameters()), retain_graph=True) for _, twin, loss in pairs]
    for (model, twin, _), gradient in zip(pairs, slopes, strict=True):
        for parameter, slope in zip(twin.parameters(), gradient, strict=True):
            parameter.grad = slope
        torch.optim.Adam(twin.parameters(), 1e-3).step()
        for moved, expected in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(moved, expected, rtol=1e-9, atol=1e-12)
