"""device= and compile= reach the models: the same numbers, taps still fire, and a missing card is one clear error."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from embodkd.core import Player, Role, Signals, TensorData, Trainer, cross_entropy, fit, kl, squared_error
from embodkd.core.engine import trainer


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


def data():
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(9))
    return TensorData({"input": x, "label": torch.arange(30) % 3})


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that torch.compile captures, run as they are: no C++ compiler is needed."""
    found = []

    def backend(graph, inputs):
        found.append(graph)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    return found


def trained(taps=None, **trainer):
    student, teacher = network(0), network(1)

    def terms(batch, s, t):
        found = {"ce": cross_entropy(s.logits_NC, batch.label_N), "kd": kl(s.logits_NC, t.logits_NC)}
        return {**found, "hint": squared_error(s.hidden_ND, t.hidden_ND)} if taps else found

    given = {"t": Role(teacher, "frozen", taps=taps)}
    recipe = fit(Player(Role(student, taps=taps), terms, given=given), data(), epochs=2, batch_size=12)
    Trainer(quiet=True, **trainer).fit(recipe)
    return student


def test_a_compiled_training_ends_where_an_interpreted_one_does(graphs):
    plain, compiled = trained(), trained(compile=True)
    # Student and teacher, the student also for the smaller last batch.
    assert len(graphs) >= 2
    for a, b in zip(plain.state_dict().values(), compiled.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)


def test_what_shares_a_batch_out_is_not_compiled(graphs, monkeypatch):
    """A compiled layer does not notice: dropout and batch norm would be those of each part, without a word."""
    with pytest.raises(ValueError, match=r"trainer.compile: .*accumulate=2, 1 process.*compile=false"):
        Trainer(compile=True, accumulate=2)
    monkeypatch.setattr(trainer, "ranks", lambda: SimpleNamespace(size=2))
    with pytest.raises(ValueError, match=r"trainer.compile: .*accumulate=1, 2 process.*compile=false"):
        Trainer(compile=True)


def test_roles_with_taps_are_not_compiled_and_their_taps_fire(graphs):
    plain, compiled = (trained(taps={"hidden": "2"}, compile=choice) for choice in (False, True))
    assert not graphs
    assert all(
        torch.equal(a, b) for a, b in zip(plain.state_dict().values(), compiled.state_dict().values(), strict=True)
    )


def test_a_compiled_role_answers_the_same_in_both_modes_and_is_compiled_once(graphs):
    batch = Signals({"input": torch.randn(5, 4)})
    plain, compiled = ([Role(model), Role(model, mode="eval")] for model in (network(0), network(0)))
    for role in compiled:
        role.compile()
        role.compile()
    expected, found = ([role.signals(batch).logits_NC for role in roles] for roles in (plain, compiled))
    assert not torch.equal(*expected) and len(graphs) == 2
    torch.testing.assert_close(found, expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a graphics card")
def test_a_missing_graphics_card_is_one_clear_error():
    with pytest.raises(ValueError, match=r"trainer\.device: cuda.*(without CUDA|no driver).*device=cpu"):
        Trainer(device="cuda")


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="'gpu' is not one of cpu, cuda, auto"):
        Trainer(device="gpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_a_card_ends_near_training_on_the_processor():
    plain, there = trained(), trained(device="cuda")
    assert next(there.parameters()).is_cuda
    for a, b in zip(plain.state_dict().values(), there.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b.cpu(), rtol=1e-3, atol=1e-4)
