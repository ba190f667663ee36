"""Judging language models: likelihoods against slow sums, answers against all possible draws, one judge per word."""

import itertools
import math

import numpy as np
import pytest
import torch
from rows import blobs, large_lm, small, texts
from torch import nn

from embodkd.data import make_data
from embodkd.evaluation.decoding import answered
from embodkd.evaluation.judges import JUDGES, better, judge_of
from embodkd.evaluation.judges.language import MEASURES, SAMPLES, answers, measured, passed
from embodkd.models import MODELS, make_model, model_names


def test_every_model_has_a_judge_and_every_measure_a_direction():
    assert {MODELS.get(name).judged_as for name in model_names()} <= set(JUDGES)
    for judge in JUDGES.values():
        assert all(judge.measures.metadata(name)["better"] in ("higher", "lower") for name in judge.measures)
    assert better("perplexity") == "lower" and better("pass_at_1@pool") == "higher" and better("nll") == "lower"


def test_a_product_is_judged_as_its_class_says_or_as_is_usual_for_the_data():
    assert judge_of(small(), blobs()) is JUDGES["classifier"] and judge_of(large_lm(), texts()) is JUDGES["language"]
    assert judge_of(nn.Linear(2, 2), texts()) is JUDGES["language"]
    other = nn.Linear(2, 2)
    other.judged_as = "poem"
    with pytest.raises(ValueError, match="judged as 'poem': .*language"):
        judge_of(other, texts())


def test_the_likelihood_is_that_of_each_token_that_counts_given_those_before_it():
    model, data = large_lm().eval(), texts(pool=5)
    found = measured(model, data)
    for part, suffix in (("test", ""), ("train", "@train"), ("pool", "@pool")):
        nats, count = [], 0
        fields = data.part(part).fields
        for row, mask in zip(fields["tokens"], fields["mask"], strict=True):
            for place in torch.nonzero(mask)[:, 0].tolist():
                with torch.no_grad():
                    p = np.exp(model.next_logits(row[None, :place])[0][0].double().numpy())
                nats.append(-math.log(p[row[place]] / p.sum()))
                count += 1
        assert found[f"nll{suffix}"] == pytest.approx(sum(nats) / count, rel=1e-5)
        assert found[f"perplexity{suffix}"] == pytest.approx(math.exp(sum(nats) / count), rel=1e-5)
    assert set(found) == {f"{m}{s}" for m in ("nll", "perplexity") for s in ("", "@train", "@validation", "@pool")}


@pytest.mark.parametrize("draws", [4, 6])
def test_pass_at_k_is_the_share_of_all_choices_of_k_draws_with_a_right_one(draws):
    right = torch.rand(7, draws, generator=torch.Generator().manual_seed(0)) < 0.3
    for tries in range(1, draws + 1):
        slow = [any(c) for row in right.tolist() for c in itertools.combinations(row, tries)]
        assert passed(right, tries) == pytest.approx(sum(slow) / len(slow))


def sums():
    return make_data("sums", digits=1, train=20, validation=6, test=12)


class Oracle(nn.Module):
    """Knows the test by heart: its logits are high at the right tokens, for a share of the items."""

    judged_as = "language"

    def __init__(self, data, knows):
        super().__init__()
        fields = data.test.fields
        self.rows = {}
        for row, prompt, known in zip(fields["tokens"].tolist(), fields["prompt"].tolist(), knows, strict=True):
            self.rows[tuple(row[:prompt])] = row if known else [*row[:prompt], *([data.end] * 20)]
        self.width, self.data = data.vocabulary, data
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, tokens_NT):
        return {"logits": torch.zeros(*tokens_NT.shape, self.width)}

    def next_logits(self, token_NT, state=None):
        seen = token_NT if state is None else torch.cat([state, token_NT], 1)
        logits = torch.zeros(len(seen), self.width)
        for n, row in enumerate(seen.tolist()):
            for prompt, whole in self.rows.items():
                if tuple(row[: len(prompt)]) == prompt and row == whole[: len(row)]:
                    logits[n, whole[len(row)]] = 50.0
        return logits, seen


def test_answers_are_counted_by_the_checker_greedily_and_drawn():
    pytest.importorskip("tokenizers")
    data = sums()
    knows = [k % 4 != 0 for k in range(12)]
    found = measured(Oracle(data, knows), data)
    assert found["pass_at_1"] == found["sampled"] == found["pass_at_8"] == 75.0
    assert not [name for name in found if name.startswith("pass_at") and "@" in name]
    result = JUDGES["language"].evaluated(Oracle(data, knows), data, {"name": "sums", "seed": 0})
    assert [o.success for o in result.outcomes] == knows and result.protocol["part"] == "test"
    assert [o.seed for o in result.outcomes] == data.test.fields["sample_id"].tolist()
    assert result.manifest["measures"]["pass_at_1"] == 75.0
    validation = JUDGES["language"].evaluated(large(data), data, {"name": "sums", "seed": 0}, part="validation")
    assert validation.episodes == 6
    with pytest.raises(ValueError, match="did you mean 'validation'"):
        JUDGES["language"].evaluated(large(data), data, {}, part="validations")


def large(data):
    torch.manual_seed(0)
    return make_model("gru_lm", **data.facts(), width=16).eval()


def test_without_a_checker_a_text_succeeds_by_its_last_token():
    model, data = large_lm().eval(), texts()
    result = JUDGES["language"].evaluated(model, data, {"name": "toy", "seed": 0})
    fields = data.test.fields
    for n, outcome in enumerate(result.outcomes):
        last = int(torch.nonzero(fields["mask"][n])[-1])
        with torch.no_grad():
            likely = model.next_logits(fields["tokens"][n : n + 1, :last])[0].argmax()
        assert outcome.success == bool(likely == fields["tokens"][n, last])
        assert outcome.failure == (None if outcome.success else "another last token is likelier")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_is_the_same_alone_and_in_a_batch_and_repeats_the_prompt(temperature):
    pytest.importorskip("tokenizers")
    data = sums()
    model, f = large(data), data.test.fields
    given = {"end": data.end, "pad": data.pad, "temperature": temperature, "seed": 3}
    rows = (f["tokens"], f["prompt"], f["sample_id"])
    whole = answered(model, *rows, **given)
    assert whole.shape == f["tokens"].shape
    for n in range(len(whole)):
        assert torch.equal(answered(model, *(row[n : n + 1] for row in rows), **given)[0], whole[n])
        row, prompt = whole[n].tolist(), int(f["prompt"][n])
        assert row[:prompt] == f["tokens"][n, :prompt].tolist()
        if data.end in row:
            assert set(row[row.index(data.end) + 1 :]) <= {data.pad}


def test_the_likeliest_tokens_are_those_of_the_whole_rows_logits():
    model, data = large_lm().eval(), texts()
    f = data.test.fields
    rows = answered(model, f["tokens"], f["prompt"], f["sample_id"], end=None, pad=0)
    with torch.no_grad():
        logits = model(rows)["logits"]
    assert torch.equal(logits.argmax(-1)[:, 2:], rows[:, 2:])


def test_what_cannot_be_judged_is_named():
    class Blind(nn.Module):
        def forward(self, tokens_NT):
            return {"logits": torch.zeros(*tokens_NT.shape, 3)}

    with pytest.raises(ValueError, match=r"Blind gives logits of shape \(12, 6, 3\) where \(12, 6, 5\)"):
        answers(Blind(), texts())
    assert SAMPLES == 8 and "pass_at_8" in MEASURES
