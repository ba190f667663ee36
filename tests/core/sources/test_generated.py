"""What is written is what a slow sampler writes, one prompt by one, without a memory; and it is kept."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toy import fingerprint, stops_until

from embodkd.core import Decoding, Generated, Player, Role, RunFolder, Stage, Trainer, as_writer, fit
from embodkd.core.ranks import Ranks
from embodkd.core.sources import generated
from embodkd.core.sources.decoding import Cached, Uncached
from embodkd.core.sources.ragged import EndToEnd
from embodkd.core.sources.source import item_seeds

VOCABULARY = 11
MASK = 2**64 - 1


class Recurrent(nn.Module):
    """A small GRU language model that hands its state over."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.gru = nn.GRU(8, 16, batch_first=True)
        self.dropout, self.head = nn.Dropout(0.5), nn.Linear(16, VOCABULARY)

    def forward(self, tokens_NT):
        return self.head(self.dropout(self.gru(self.embed(tokens_NT))[0]))

    def next_logits(self, tokens_NT, state):
        hidden, state = self.gru(self.embed(tokens_NT), state)
        return self.head(self.dropout(hidden[:, -1])), state


class Forgetful(nn.Module):
    """The same without a memory, its answer by name."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, tokens_NT):
        return {"logits": self.inner(tokens_NT)}


def llama():
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    return transformers.LlamaForCausalLM(config)


def sharpened(model):
    """Weights large enough that what is before a token matters."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0 if parameter.ndim > 1 else 1.0)
    return model


@pytest.fixture(scope="module", params=["gru", "forgetful", "llama"])
def model(request):
    torch.manual_seed(3)
    made = {"gru": Recurrent, "forgetful": lambda: Forgetful(Recurrent()), "llama": llama}[request.param]()
    return sharpened(made)


def mixed(seed, epoch, number):
    """SplitMix64 in plain whole numbers."""
    for salt in (seed, epoch):
        number = (number + salt * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & MASK
        number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
        number ^= number >> 31
    return number >> 2


def one_by_one(model, prompt, key, decoding):
    """(completion, log-probabilities, stopped): the whole text is read again for each token."""
    logits_of = model if isinstance(model, Recurrent) else (lambda t: model(t)["logits"])
    text, logps = list(prompt), []
    model.eval()
    for k in range(decoding.longest):
        with torch.no_grad():
            logits = logits_of(torch.tensor([text]))[0, -1].double().tolist()
        if decoding.temperature == 0.0:
            probs = [float(v == max(logits)) for v in logits]
        else:
            top = max(logits)
            weights = [math.exp((v - top) / decoding.temperature) for v in logits]
            probs = [w / sum(weights) for w in weights]
        kept, mass = set(), 0.0
        for token in sorted(range(len(probs)), key=lambda t: -probs[t]):
            if mass >= decoding.top_p:
                break
            kept.add(token)
            mass += probs[token]
        total = sum(p for t, p in enumerate(probs) if t in kept)
        wanted, below = (mixed(0, 0, k ^ mixed(1, 0, key)) >> 9) / 2**53, 0.0
        for token, p in enumerate(probs):
            if token in kept:
                below += p / total
                if below > wanted:
                    break
        text.append(token)
        logps.append(math.log(probs[token] / total))
        if token == decoding.stop:
            return text[len(prompt) :], logps, True
    return text[len(prompt) :], logps, False


PROMPTS = [[1, 2], [3], [4, 5, 6, 7, 8], [9, 10, 1], [2], [3, 3, 3, 3, 3, 3, 3], [5, 6]]
WAYS = [
    Decoding(6, batch_size=3),
    Decoding(8, stop=4, batch_size=7),
    Decoding(7, temperature=0.5, top_p=0.7, stop=2, batch_size=2),
    Decoding(5, temperature=0.0, batch_size=4),
]


@pytest.mark.parametrize("decoding", WAYS)
def test_texts_are_those_of_a_sampler_that_takes_one_prompt_at_a_time_and_remembers_nothing(model, decoding):
    model.train()
    source = Generated(model, PROMPTS, decoding, seed=5, responses=2)
    source.refill(3)
    assert model.training, "modes are as they were"
    batch = source.gather(np.arange(14), 0)
    keys = item_seeds(5, 3, np.arange(14)).tolist()
    assert keys[7] == mixed(5, 3, 7)
    stops = 0
    for row in range(14):
        prompt = PROMPTS[row // 2]
        text, logps, stopped = one_by_one(model, prompt, keys[row], decoding)
        end = len(prompt) + len(text)
        tokens = batch["tokens"][row].tolist()
        assert tokens[:end] == prompt + text and set(tokens[end:]) <= {0}
        assert batch["mask"][row].nonzero().flatten().tolist() == list(range(len(prompt), end))
        assert batch["tokens_mask"][row].nonzero().flatten().tolist() == list(range(end))
        found = batch["logprob"][row]
        torch.testing.assert_close(found[len(prompt) : end], torch.tensor(logps), atol=2e-5, rtol=1e-4)
        assert found[: len(prompt)].eq(0).all() and found[end:].eq(0).all()
        assert bool(batch["stopped"][row]) == stopped and int(batch["prompt_length"][row]) == len(prompt)
        stops += stopped
    assert batch["prompt_id"].tolist() == [k // 2 for k in range(14)] and batch["sample_id"].tolist() == list(range(14))
    assert decoding.stop is None or stops > 0, "the stop token must occur for the test to see it"


@settings(max_examples=25)
@given(st.permutations(range(7)), st.integers(1, 7), st.integers(1, 7))
def test_what_is_written_to_a_prompt_does_not_depend_on_those_beside_it(order, count, batch_size):
    torch.manual_seed(3)
    model, key = sharpened(Recurrent()), item_seeds(1, 0, np.arange(7))
    alone = Decoding(6, stop=4, batch_size=1).complete(model, EndToEnd.of(PROMPTS), key)
    some = np.array(order[:count])
    beside = Decoding(6, stop=4, batch_size=batch_size).complete(
        model, EndToEnd.of([PROMPTS[k] for k in some]), key[some]
    )
    for row, k in enumerate(some):
        assert beside.tokens[row].tolist() == alone.tokens[k].tolist()
        np.testing.assert_allclose(beside.logprobs[row], alone.logprobs[k], atol=1e-5)


def test_models_are_asked_through_the_memory_that_they_have():
    gru = Recurrent()
    assert as_writer(gru) is gru
    gru.model = nn.Linear(1, 1)  # a part of it, which is not all that must be in evaluation mode
    held = [Decoding(2).complete(gru, EndToEnd.of([[1]]), np.zeros(1, np.int64)).logprobs[0] for _ in range(2)]
    assert (held[0] == held[1]).all() and gru.training
    assert isinstance(as_writer(Forgetful(gru)), Uncached) and isinstance(as_writer(llama()), Cached)
    with pytest.raises(ValueError, match="a dict writes no text"):
        as_writer({})

    class Translator(Recurrent):
        def forward(self, input_ids, decoder_input_ids, cache=None):
            raise AssertionError

    with pytest.raises(ValueError, match="a Translator has an encoder"):
        Cached(Translator())


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.05, 1.0), st.floats(0.2, 3.0))
def test_tokens_come_as_often_as_their_probabilities_say_and_never_where_they_are_zero(seed, top_p, temperature):
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(size=6) * 2)
    logits[rng.integers(6)] = -torch.inf
    decoding = Decoding(temperature=temperature, top_p=top_p)
    grid = torch.arange(4000, dtype=torch.float64) / 4000
    edges = torch.tensor([0.0, 1.0 - 2.0**-53], dtype=torch.float64)
    tokens, logps = decoding.draw(logits.expand(4002, -1), torch.cat([grid, edges]))
    probs = decoding.log_probs(logits[None])[0].exp()
    assert (probs[tokens] > 0).all() and torch.equal(logps.exp(), probs[tokens])
    share = torch.bincount(tokens[:4000], minlength=6) / 4000
    torch.testing.assert_close(share.double(), probs, atol=3e-4, rtol=0)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.05, 1.0), st.floats(0.2, 3.0))
def test_temperature_and_top_p_are_those_of_transformers(seed, top_p, temperature):
    transformers = pytest.importorskip("transformers")
    logits = torch.tensor(np.random.default_rng(seed).normal(size=(3, 9)) * 2)
    expected = transformers.TopPLogitsWarper(top_p)(None, logits / temperature) if top_p < 1 else logits / temperature
    found = Decoding(temperature=temperature, top_p=top_p).log_probs(logits)
    torch.testing.assert_close(found, torch.log_softmax(expected, -1))


def test_each_refill_writes_anew_by_the_model_as_it_is_and_the_same_again():
    torch.manual_seed(0)
    model = Recurrent()
    source = Generated(model, PROMPTS, Decoding(6), refresh="epoch", fields={"answer": torch.arange(7) * 10})

    def texts(refill):
        source.refill(refill)
        return source.gather(np.arange(7), 0)

    first = texts(0)
    assert source.size() == 7 == source.planned_size(4) and first["answer"].tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert not torch.equal(first["tokens"], texts(1)["tokens"]) and torch.equal(first["tokens"], texts(0)["tokens"])
    with torch.no_grad():
        model.head.bias += torch.arange(VOCABULARY) * 2.0
    assert not torch.equal(first["tokens"], texts(0)["tokens"])


@given(st.integers(1, 12), st.data())
def test_refills_of_some_prompts_take_each_at_most_once_per_pass(count, data):
    per_refill = data.draw(st.integers(1, count))
    source = Generated(Recurrent(), [[1]] * count, Decoding(1), per_refill=per_refill, refresh="step", seed=3)
    turns = count // per_refill
    for turn in range(3):
        taken = np.concatenate([source.chosen(turn * turns + part) for part in range(turns)])
        assert len(taken) == turns * per_refill == len(set(taken.tolist()))
    assert source.planned_size(5) == per_refill


def test_texts_come_back_from_disk_and_only_the_needed_ones_stay(tmp_path):
    source = Generated(Recurrent(), PROMPTS, Decoding(4, stop=3), refresh="epoch")
    for refill in range(3):
        source.refill(refill)
        source.save(tmp_path)
        source.tidy(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["texts_1", "texts_2"]
    again = Generated(Recurrent(), PROMPTS, Decoding(4, stop=3), refresh="epoch")
    again.restore(tmp_path, 3)
    one, two = source.gather(np.arange(7), 0), again.gather(np.arange(7), 0)
    assert set(one) == set(two) and all(torch.equal(one[name], two[name]) for name in one)


def test_a_bank_of_texts_is_read_and_never_that_of_another_writer(tmp_path):
    torch.manual_seed(0)
    model = Recurrent()
    first = Generated(model, PROMPTS, Decoding(4), folder=tmp_path / "bank")
    numbers = first.refill(0)
    written = (tmp_path / "bank" / "texts_0" / "texts.safetensors").stat().st_mtime_ns
    second = Generated(model, PROMPTS, Decoding(4), folder=tmp_path / "bank")
    assert second.refill(0) == numbers
    assert torch.equal(first.gather(np.arange(7), 0)["tokens"], second.gather(np.arange(7), 0)["tokens"])
    assert written == (tmp_path / "bank" / "texts_0" / "texts.safetensors").stat().st_mtime_ns
    third = Generated(model, PROMPTS, Decoding(4), folder=tmp_path / "bank")
    third.save(tmp_path / "run")
    third.restore(tmp_path / "run", 1)
    assert torch.equal(first.gather(np.arange(7), 0)["tokens"], third.gather(np.arange(7), 0)["tokens"])
    with pytest.raises(ValueError, match=r"texts_0 are of other prompts, another decoding or another seed"):
        Generated(model, PROMPTS, Decoding(5), folder=tmp_path / "bank").refill(0)
    with torch.no_grad():
        model.head.bias += 1
    with pytest.raises(ValueError, match=r"texts_0 are of another writer; remove"):
        Generated(model, PROMPTS, Decoding(4), folder=tmp_path / "bank").refill(0)


@pytest.mark.parametrize("refresh", ["never", "epoch", "step"])
@pytest.mark.parametrize("own", [True, False], ids=["by the student", "by a teacher"])
def test_a_run_that_is_stopped_again_and_again_learns_from_the_same_texts(refresh, own, tmp_path, monkeypatch):
    torch.manual_seed(0)
    first, teacher = Recurrent().state_dict(), Recurrent()

    def terms(batch, s):
        logp = s.logits_NTV[:, :-1].log_softmax(-1).gather(-1, batch["tokens"][:, 1:, None])[..., 0]
        return {"nll": -(logp * batch["mask"][:, 1:]).sum(1)}

    def run(folder):
        student = Recurrent()
        student.load_state_dict(first)
        writer = student if own else teacher
        some = None if refresh != "step" else 4
        source = Generated(writer, PROMPTS, Decoding(4, stop=3), refresh=refresh, per_refill=some)
        length = {"epochs": 2} if some is None else {"updates_per_round": 3}
        recipe = fit(Player(Role(student, view="tokens"), terms), source, batch_size=4, rounds=3, **length)
        with RunFolder.open(folder, {}, resume=True) as open_run:
            Trainer(open_run, checkpoint_s=0.0, quiet=True).fit(recipe)
        return fingerprint(student)

    whole = run(tmp_path / "whole")
    assert stops_until(whole, lambda: run(tmp_path / "run"), monkeypatch, 12) >= 3


def test_several_processes_write_what_one_does(monkeypatch):
    torch.manual_seed(0)
    model = Recurrent()
    whole = Generated(model, PROMPTS, Decoding(6, stop=3), responses=2)
    whole.refill(0)
    parts = []

    class Recording(Ranks):
        def merged(self, share):
            parts.append(list(share))
            raise InterruptedError

    for rank in range(3):
        monkeypatch.setattr(generated, "ranks", lambda rank=rank: Recording(rank, 3))
        with pytest.raises(InterruptedError):
            Generated(model, PROMPTS, Decoding(6, stop=3), responses=2)._write(0)
    batch = whole.gather(np.arange(14), 0)
    for row in range(14):
        text = batch["tokens"][row][batch["mask"][row]]
        assert parts[row % 3][row // 3][0].tolist() == text.tolist()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        Generated(Recurrent(), [[1], []]).refill(0)
    with pytest.raises(FloatingPointError, match="the logits of what writes are not finite"):
        Generated(Forgetful(lambda tokens: torch.full((*tokens.shape, 3), torch.nan)), [[1]]).refill(0)
    with pytest.raises(ValueError, match="per_refill: 3 of 2 prompts"):
        Generated(Recurrent(), [[1], [2]], per_refill=3)
    with pytest.raises(ValueError, match=r"fields: one row for each of the 2 prompts, got {'answer': 3}"):
        Generated(Recurrent(), [[1], [2]], fields={"answer": np.zeros(3)})
    with pytest.raises(ValueError, match=r"call refill\(0\) first"):
        Generated(Recurrent(), [[1]]).gather(np.arange(1), 0)
    with pytest.raises(ValueError, match="needs updates_per_round"):
        Stage((object(),), Generated(Recurrent(), [[1]], refresh="step"))
