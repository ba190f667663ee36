"""FastSpeech 2: what is learned, from whom, and what no gradient or prediction may touch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rows import attending_speaker, small_speaker
from spoken import speech, utterances

from embodkd.core import Budget, RunFolder, Signals, Stage, Trainer
from embodkd.core.engine.answers import in_order
from embodkd.methods import get_method
from embodkd.models import load_model, save_model
from embodkd.parts.speech.sound_terms import spectral_distance
from embodkd.parts.speech.targets import with_targets
from embodkd.parts.speech.taught import Taught
from embodkd.parts.speech.wavelets import contour, transformed


def recipe(student: Any, teacher: Any = None, **method: Any) -> Any:
    return get_method("fastspeech2")(**method).recipe(student, teacher, speech(), seed=0, budget=Budget(epochs=1))


def only(made: Any) -> tuple[Stage, Any]:
    (stage,) = made.stages
    (player,) = stage.players
    return stage, player


def values(made: Any) -> tuple[Signals, Signals, dict[str, torch.Tensor]]:
    stage, player = only(made)
    stage.source.refill(0)
    batch = player.at(stage.source.gather(np.arange(8), 0), 0, 1)
    s, given = in_order(player, batch, player.train.signals, lambda role, seen: role.signals(seen))
    return batch, s, dict(player.terms(batch, s, **given))


@pytest.mark.parametrize("loss", ["mse", "l1"])
def test_terms_are_those_of_the_card(loss: str) -> None:
    torch.manual_seed(0)
    student = small_speaker().eval()
    batch, s, found = values(recipe(student, pitch_loss=loss))
    power = 2 if loss == "mse" else 1
    low, high = student.energy_2.tolist()
    for n, part in enumerate(speech().train.sequences["pitch"][k] for k in range(8)):
        frames, phonemes = len(part), int(batch["phoneme_mask"][n].sum())
        y, mean, deviation = contour(part)
        true = torch.from_numpy(transformed(y))
        expected = (s["curve"][n, :frames] - true).abs().pow(power).mean(-1)
        torch.testing.assert_close(found["curve"][n, :frames], expected.float(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            found["pitch_mean"][n], (s["pitch_mean"][n] - mean).abs() ** power, rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            found["pitch_spread"][n], (s["pitch_spread"][n] - deviation).abs() ** power, rtol=1e-4, atol=1e-5
        )
        chance = torch.where(
            torch.from_numpy(part) > 0, -s["unvoiced"][n, :frames], s["unvoiced"][n, :frames]
        ).sigmoid()
        torch.testing.assert_close(found["unvoiced"][n, :frames], -chance.log(), rtol=1e-4, atol=1e-5)
        share = (batch["energy"][n, :frames] - low) / (high - low)
        torch.testing.assert_close(found["energy"][n, :frames], (s["energy_share"][n, :frames] - share).square())
        for x in range(phonemes):
            d = float(batch["duration"][n, x])
            assert found["duration"][n, x].item() == pytest.approx(
                (s["log_duration"][n, x].item() - np.log(d + 1)) ** 2, rel=1e-4, abs=1e-6
            )
        expected = (s["mel"][n] - batch["mel"][n]).abs().mean(-1)
        torch.testing.assert_close(found["mel"][n], expected)


def test_every_mean_is_over_what_is_there() -> None:
    _, player = only(recipe(small_speaker()))
    frames = dict.fromkeys(("mel", "energy", "unvoiced"), "frame_mask")
    assert player.mass == {**frames, "duration": "phoneme_mask", "curve": "counted"}
    _, player = only(recipe(small_speaker(level="phoneme")))
    assert player.mass == {
        **dict.fromkeys(("duration", "energy", "unvoiced"), "phoneme_mask"),
        "mel": "frame_mask",
        "curve": "counted",
    }


def test_the_pitch_of_phonemes_is_the_mean_of_their_voiced_frames() -> None:
    part = utterances(5)
    made = with_targets(part, "phoneme")
    for k in range(5):
        ends = np.cumsum(part.sequences["duration"][k])
        for x, end in enumerate(ends):
            own = slice(end - part.sequences["duration"][k][x], end)
            hz = part.sequences["pitch"][k][own]
            assert made.sequences["counted"][k][x] == (hz > 0).any() == (made.sequences["unvoiced"][k][x] == 0)
            if (hz > 0).any():
                assert made.sequences["curve"][k][x, 0] == pytest.approx(np.log(hz[hz > 0].mean()), rel=1e-5)
            assert made.sequences["loud"][k][x] == pytest.approx(part.sequences["energy"][k][own].mean(), rel=1e-5)


@pytest.mark.parametrize(("trunk", "reaches"), [(1.0, True), (0.0, False)])
def test_of_the_predictors_gradient_the_trunk_gets_its_share(trunk: float, reaches: bool) -> None:
    torch.manual_seed(0)
    student = small_speaker().eval()
    _, s, found = values(recipe(student, trunk=trunk))
    (gradient,) = torch.autograd.grad(
        found["duration"].sum() + found["curve"].sum(), [student.embedding.weight], allow_unused=True
    )
    assert (gradient is not None and bool(gradient.abs().sum() > 0)) == reaches


def test_a_tenth_of_the_trunk_is_a_tenth_of_its_gradient() -> None:
    def slope(trunk: float) -> torch.Tensor:
        torch.manual_seed(0)
        student = small_speaker().eval()
        _, _, found = values(recipe(student, trunk=trunk))
        return torch.autograd.grad(found["duration"].sum(), student.embedding.weight)[0]

    torch.testing.assert_close(slope(0.1), 0.1 * slope(1.0))


@pytest.mark.parametrize("spoken", [False, True])
def test_what_the_teacher_is_asked_for_has_durations_that_fill_its_frames(spoken: bool) -> None:
    torch.manual_seed(1)
    part = utterances(7, pad_to="batch")
    source = Taught(part, attending_speaker(), spoken=spoken)
    source.refill(0)
    batch = source.gather(np.arange(7), 0)
    assert torch.equal(batch["duration"].sum(1), batch["frame_mask"].sum(1)) and (batch["duration"] >= 0).all()
    assert torch.equal(batch["phoneme"], part.gather(np.arange(7), 0)["phoneme"])
    if not spoken:
        assert torch.equal(batch["mel"], part.gather(np.arange(7), 0)["mel"])
    again = Taught(part, source.teacher, spoken=spoken)
    again.restore(None, 1)  # type: ignore[arg-type]
    assert torch.equal(again.gather(np.arange(7), 0)["mel"], batch["mel"])


def test_the_distilled_student_learns_what_its_teacher_says() -> None:
    torch.manual_seed(1)
    teacher, student = attending_speaker(), small_speaker(pitch=False, energy=False)
    batch, _, found = values(recipe(student, teacher, durations="attention", mels="teacher"))
    said = teacher.eval()({name: speech().train.gather(np.arange(8), 0)[name] for name in teacher.reads})
    torch.testing.assert_close(batch["duration"], said["duration"])
    assert found.keys() == {"mel", "duration"}


@pytest.mark.parametrize(
    ("student", "taught", "method", "said"),
    [
        ({}, False, {"mels": "teacher"}, "set durations=attention"),
        ({}, False, {"durations": "attention"}, "needs a teacher"),
        ({}, True, {}, "no use for a teacher"),
        ({}, True, {"durations": "attention", "mels": "teacher"}, r"model\.pitch=false"),
    ],
)
def test_settings_that_do_not_fit_together_are_said(student: Any, taught: bool, method: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        recipe(small_speaker(**student), attending_speaker() if taught else None, **method)


def test_a_student_or_a_teacher_of_another_kind_is_said() -> None:
    with pytest.raises(ValueError, match="not a AttentionTTS"):
        recipe(attending_speaker())
    with pytest.raises(ValueError, match="asks an attention_tts"):
        recipe(small_speaker(), small_speaker(), durations="attention")
    with pytest.raises(ValueError, match="method=fastspeech2"):
        get_method("supervised")().recipe(small_speaker(), None, speech(), budget=Budget())


def sounding(**options: Any) -> Any:
    return small_speaker(**{"wave": True, "wave_channels": 4, "wave_layers": 3, **options})


def heard(student: Any, **method: Any) -> Any:
    made = get_method("fastspeech2")(**{"slice": 3, **method})
    return made.recipe(student, None, speech(audio=True), seed=0, budget=Budget(epochs=1, batch_size=8))


def told(made: Any) -> tuple[Signals, dict[str, Any]]:
    """The batch of a first update, and of each player (its signals, what it is given, its terms)."""
    stage = made.stages[0]
    batch = stage.source.gather(np.arange(8), 0)
    batch = batch.merge(**stage.prepare[0](batch))
    found = {}
    for player in stage.players:
        own = player.at(batch, 0, 1)
        s, given = in_order(player, own, player.train.signals, lambda role, seen: role.signals(seen))
        found[player.name] = s, given, dict(player.terms(own, s, **given))
    return batch, found


def test_sound_has_the_terms_of_the_card_beside_the_others() -> None:
    torch.manual_seed(0)
    student = sounding().eval()
    batch, found = told(heard(student))
    s, given, terms = found["student"]
    assert s["sound"].shape == batch["voice"].shape == (8, 3 * 32)
    torch.testing.assert_close(terms["stft"], spectral_distance(s["sound"], batch["voice"], 32))
    torch.testing.assert_close(terms["adversarial"], (1 - given["judge"]["made"]).square().mean(1))
    scores, _, judged = found["judge"]
    expected = (1 - scores["voice"]).square().mean(1) + scores["made"].square().mean(1)
    torch.testing.assert_close(judged["telling"], expected)
    plain = values(recipe(small_speaker()))[2]
    assert terms.keys() == {*plain, "stft", "adversarial"}


def test_the_word_of_the_discriminator_reaches_the_student_and_nobody_else_moves() -> None:
    torch.manual_seed(0)
    student = sounding().eval()
    made = heard(student)
    _, found = told(made)
    fooled, judge = found["student"], made.stages[0].players[1].train.model
    (gradient,) = torch.autograd.grad(fooled[2]["adversarial"].sum(), [student.embedding.weight], retain_graph=True)
    assert gradient.abs().sum() > 0
    before = {who: [p.detach().clone() for p in m.parameters()] for who, m in (("s", student), ("j", judge))}
    Trainer(quiet=True).fit(made)
    for who, model in (("s", student), ("j", judge)):
        assert any(not torch.equal(a, b) for a, b in zip(before[who], model.parameters(), strict=True)), who


def test_without_its_weight_there_is_no_discriminator() -> None:
    assert [player.name for player in heard(sounding(), adversarial=0.0).stages[0].players] == ["student"]


def test_the_model_that_comes_out_does_without_spectra_and_says_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    student = sounding()
    made = heard(student)
    assert {name for name in student.state_dict() if name.startswith("decoder")}
    Trainer(quiet=True).fit(type(made)(made.stages[:1], student))
    batch = utterances(4).gather(np.arange(4), 0)
    asked = {name: batch[name] for name in student.reads}
    with torch.no_grad():
        before = student.eval()(asked)
        made.stages[1](None)
        after = student(asked)
        loaded, config = load_model(save_model(tmp_path / "model", student))
        again = loaded(asked)
    assert not {name for name in loaded.state_dict() if name.startswith(("decoder", "head"))}
    assert config["arguments"]["spectra"] is False and config["arguments"]["wave"] is True
    assert torch.equal(before["sound"], after["sound"]) and torch.equal(before["sound"], again["sound"])
    assert "mel" in before and not {"mel", "hidden"} & {*after, *again}


def test_a_run_that_was_finished_is_read_back_without_spectra(tmp_path: Path) -> None:
    def trained() -> Any:
        torch.manual_seed(0)
        made = heard(sounding())
        with RunFolder.open(tmp_path / "run", {}, (tmp_path / "run").exists()) as folder:
            Trainer(quiet=True, run=folder).fit(made)
        return made.product

    first, second = trained(), trained()
    assert first.state_dict().keys() == second.state_dict().keys() and not second.spectra
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_student_may_learn_sound_without_spectra() -> None:
    made = heard(sounding(spectra=False))
    assert len(made.stages) == 1
    _, found = told(made)
    assert "mel" not in found["student"][2] and "stft" in found["student"][2]


def test_without_wave_nothing_is_cut_judged_or_taken_away() -> None:
    student = small_speaker()
    made = recipe(student)
    stage, player = only(made)
    assert made.product is student and not stage.prepare and not player.given


@pytest.mark.parametrize(("audio", "method"), [(False, {}), (True, {"durations": "attention", "mels": "teacher"})])
def test_sound_that_nobody_has_is_said(audio: bool, method: Any) -> None:
    teacher = attending_speaker() if method else None
    with pytest.raises(ValueError, match=r"data\.audio=true"):
        get_method("fastspeech2")(**method).recipe(
            sounding(pitch=False, energy=False), teacher, speech(audio=audio), seed=0, budget=Budget(epochs=1)
        )


def test_a_model_that_decodes_nothing_is_said() -> None:
    with pytest.raises(ValueError, match="spectra=false leaves nothing"):
        small_speaker(spectra=False)
    with pytest.raises(ValueError, match="wave=false leaves nothing"):
        small_speaker().without_spectra()
