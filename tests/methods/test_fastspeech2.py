"""FastSpeech 2: what is learned, from whom, and what no gradient or prediction may touch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from rows import attending_speaker, small_speaker
from spoken import speech, utterances

from embodkd.core import Budget, Signals, Stage
from embodkd.core.engine.answers import in_order
from embodkd.methods import get_method
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
