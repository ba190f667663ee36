"""Models of texts: logits of each token given those before it, at once or one by one, and folders that say it again."""

import json

import pytest
import torch

from embodkd.core import Role, Signals, seed_everything
from embodkd.core.precision import Precision
from embodkd.core.sources.provenance import Provenance
from embodkd.models import MODELS, load_model, make_model, model_names, save_model

pytest.importorskip("transformers", reason="extra language is not installed")
FACTS = {"vocabulary": 30, "length": 9, "start": 1, "end": 2}
MODELS_OF_TEXTS = [
    ("gru_lm", {"width": 12}),
    ("gru_lm", {"width": 12, "layers": 2, "tied": True, "dropout": 0.3}),
    ("causal_lm", {"width": 16, "depth": 2, "heads": 2}),
    ("causal_lm", {"width": 16, "depth": 1, "heads": 2, "tied": False, "dropout": 0.3}),
]
every_one = pytest.mark.parametrize(("name", "options"), MODELS_OF_TEXTS)


def made(name, options, facts=FACTS):
    torch.manual_seed(0)
    return make_model(name, **facts, **options)


def tokens(n=3, length=9):
    return torch.randint(3, 30, (n, length), generator=torch.Generator().manual_seed(1))


def test_every_language_model_is_tried_here():
    assert {name for name, _ in MODELS_OF_TEXTS} == {n for n in model_names() if MODELS.get(n).judged_as == "language"}


@every_one
def test_logits_are_the_head_of_what_is_hidden_and_end_at_the_texts_own_tokens(name, options):
    model = made(name, options).eval()
    s = Role(model, "frozen").signals(Signals({"tokens": tokens()}))
    assert s.logits_NTV.shape == (3, 9, 30)
    torch.testing.assert_close(model.head(s.hidden_NTD), s.logits)


@every_one
def test_one_by_one_it_says_what_it_says_at_once(name, options):
    model, x = made(name, options).eval(), tokens()
    with torch.no_grad():
        whole_NTV = model(x)["logits"]
        logits_NV, state = model.next_logits(x[:, :0])
        torch.testing.assert_close(logits_NV, whole_NTV[:, 0], rtol=1e-4, atol=1e-5)
        for place in range(1, 9):
            logits_NV, state = model.next_logits(x[:, place - 1 : place], state)
            torch.testing.assert_close(logits_NV, whole_NTV[:, place], rtol=1e-4, atol=1e-5)
        at_once, state = model.next_logits(x[:, :4])
        torch.testing.assert_close(at_once, whole_NTV[:, 4], rtol=1e-4, atol=1e-5)
        several, _ = model.next_logits(x[:, 4:7], state)
        torch.testing.assert_close(several, whole_NTV[:, 7], rtol=1e-4, atol=1e-5)


@every_one
def test_no_logit_depends_on_its_own_token_or_a_later_one(name, options):
    model, x = made(name, options).eval(), tokens()
    changed = x.clone()
    changed[:, 5:] = 3
    with torch.no_grad():
        one, other = model(x)["logits"], model(changed)["logits"]
    torch.testing.assert_close(one[:, :6], other[:, :6])
    assert not torch.allclose(one[:, 6:], other[:, 6:])


@every_one
def test_gradient_reaches_every_parameter(name, options):
    model = made(name, {**options, "dropout": 0.0})
    model(tokens())["logits"].square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


@every_one
def test_a_folder_answers_the_same_bits_and_carries_the_tokenizer(name, options, tmp_path):
    model, x = made(name, options).train(), tokens()
    model.provenance = Provenance(spelling='{"a": 1}') if name == "gru_lm" else None
    seed_everything(0)
    loaded, config = load_model(save_model(tmp_path / "m", model))
    with torch.no_grad():
        assert torch.equal(model.eval()(x)["logits"], loaded(x)["logits"])
    assert {fact: config[fact] for fact in FACTS} == FACTS == loaded.facts()
    assert loaded.provenance.spelling == ('{"a": 1}' if name == "gru_lm" else None)
    assert not [file for file in (tmp_path / "m").rglob("*") if file.suffix in (".bin", ".pt", ".pkl")]
    again, _ = load_model(save_model(tmp_path / "again", loaded))
    assert again.provenance == loaded.provenance


def test_a_config_that_lacks_a_fact_is_one_error(tmp_path):
    folder = save_model(tmp_path / "m", made("gru_lm", {"width": 4}))
    said = json.loads((folder / "config.json").read_text())
    del said["start"]
    (folder / "config.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match=r"config\.json: lacks start"):
        load_model(folder)


def test_transformers_loads_a_folder_and_goes_on_as_we_do(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from embodkd.data import make_data
    from embodkd.evaluation.decoding import answered

    data = make_data("sums", digits=1, train=10, validation=4, test=4)
    model = made("causal_lm", {"width": 16, "depth": 2, "heads": 2, "tied": False}, data.facts())
    model.provenance = Provenance.of(data)
    folder = save_model(tmp_path / "m", model)
    theirs, tokenizer = (kind.from_pretrained(folder / "hf") for kind in (AutoModelForCausalLM, AutoTokenizer))
    read = tokenizer("3+4?", return_tensors="pt")["input_ids"]
    assert read[0].tolist() == [data.start, *data.spelling.encode("3+4?")]
    written = theirs.generate(read, attention_mask=torch.ones_like(read), max_new_tokens=8, do_sample=False)
    rows = torch.zeros(1, 12, dtype=torch.int64)
    rows[:, :4] = read[:, 1:]
    given = (rows, torch.tensor([4]), torch.tensor([0]))
    own = answered(load_model(folder)[0], *given, end=data.end, pad=data.pad)
    assert own[0, : written.shape[1] - 1].tolist() == written[0, 1:].tolist()


def test_the_likelihood_is_transformers_own_loss():
    model, x = made("causal_lm", {"width": 16, "depth": 2, "heads": 2}).eval(), tokens()
    whole = model.begun(x)
    with torch.no_grad():
        theirs = model.backbone(input_ids=whole, labels=whole).loss
        ours = -model(x)["logits"].log_softmax(-1).gather(-1, x[..., None]).mean()
    torch.testing.assert_close(ours, theirs)


def test_a_pretrained_one_is_read_from_a_folder_and_kept_without_it(tmp_path):
    import shutil

    first = made("causal_lm", {"width": 16, "depth": 1, "heads": 2})
    first.export(tmp_path / "theirs", None)
    model = made("causal_lm", {"pretrained": str(tmp_path / "theirs")}, {**FACTS, "vocabulary": 25})
    x = tokens().clamp(max=24)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x)["logits"], first.eval()(x)["logits"][..., :25])
    folder = save_model(tmp_path / "m", model)
    shutil.rmtree(tmp_path / "theirs")
    loaded, config = load_model(folder)
    assert config["arguments"]["pretrained"] is None and config["arguments"]["architecture"]["model_type"] == "llama"
    with torch.no_grad():
        assert torch.equal(loaded(x)["logits"], model(x)["logits"])


def bert(**options):
    torch.manual_seed(0)
    return make_model("bert_classifier", (7,), 4, vocabulary=30, width=16, depth=2, heads=2, **options)


def words(there=5):
    return {"input": tokens(length=7), "mask": torch.arange(7).expand(3, 7) < there}


def test_bert_does_not_see_what_is_not_there():
    model, x = bert().eval(), words()
    other = {**x, "input": torch.where(x["mask"], x["input"], 3)}
    assert not torch.equal(other["input"], x["input"])
    with torch.no_grad():
        one, two = model(x), model(other)
    torch.testing.assert_close(one["logits"], two["logits"])
    torch.testing.assert_close(one["logits"], model.classifier(one["embedding"]))
    assert one["tokens"].shape == (3, 7, 16)


def test_taps_read_and_replace_inside_bert():
    model, x = bert().eval(), words()
    name = "backbone.encoder.layer.1.attention.output.dense"
    s = Role(model, "frozen", taps={"o": name}).signals(Signals(x))
    assert s["o"].shape == (3, 7, 16) and s.logits_NC.shape == (3, 4)


def test_bert_answers_the_same_bits_after_loading(tmp_path):
    model, x = bert().eval(), words()
    loaded, config = load_model(save_model(tmp_path / "m", model))
    with torch.no_grad():
        assert torch.equal(loaded(x)["logits"], model(x)["logits"])
    assert config["vocabulary"] == 30 and config["shape"] == [7]


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("gru_lm", {"widht": 3}, "did you mean 'width'"),
        ("mlp", {}, "built for data that say shape and classes, these say .*; models of such data: causal_lm, gru_lm"),
        ("bert_classifier", {}, "models of such data: causal_lm, gru_lm"),
        ("causal_lm", {"width": 10, "heads": 4}, "heads=4 must divide width=10"),
        ("causal_lm", {"pretrained": "/no/where"}, "pretrained=/no/where cannot be loaded"),
        ("causal_lm", {"pretrained": "a", "architecture": {"model_type": "llama"}}, "not both"),
        ("causal_lm", {"architecture": {"model_type": "lama"}}, "'lama' is none of transformers'"),
    ],
)
def test_mistakes_are_named(name, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        made(name, options)


def test_a_model_of_fewer_tokens_than_the_data_have_is_refused(tmp_path):
    made("causal_lm", {"width": 16, "depth": 1, "heads": 2}).export(tmp_path / "small", None)
    with pytest.raises(ValueError, match="knows 30 tokens, the data have 31"):
        made("causal_lm", {"pretrained": str(tmp_path / "small")}, {**FACTS, "vocabulary": 31})


def test_half_precision_and_double_give_nearly_the_same():
    for name, options in MODELS_OF_TEXTS[::2]:
        model, x = made(name, options).eval(), tokens()
        with torch.no_grad():
            whole = model(x)["logits"]
            with Precision("bf16", torch.device("cpu")).autocast():
                half = model(x)["logits"].float()
            double = model.double()(x)["logits"].float()
        torch.testing.assert_close(half, whole, rtol=0.1, atol=0.02)
        torch.testing.assert_close(double, whole, rtol=1e-4, atol=1e-5)
