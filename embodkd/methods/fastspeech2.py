"""FastSpeech 2 (Ren et al., ICLR 2021): speech learned from what the data say, in place of a teacher that attends.

Equations, for a sentence of X phonemes with durations d, T frames with log-mels M, pitch F0 and energy e:
    mel       mean |M' - M|                              over frames and bands
    duration  mean (log d' - log(d + 1))^2               over phonemes; d = max(0, round(exp(log d') - 1)) in use
    curve     mean (W' - W)^2                            over frames and scales, W the wavelet transform of y
    mean, spread  (mu' - mu)^2, (sigma' - sigma)^2       y = (log F0 - mu) / sigma, F0 interpolated without voice
    unvoiced  mean cross-entropy of whether F0 is 0      over frames
    energy    mean (e' - e)^2                            over frames, e in the range of the training data
and loss = their sum. Durations, pitch and energy that the decoder reads are the data's while it learns and predicted
ones in use; no gradient passes their bins or the lengths.

FastSpeech (Ren et al., NeurIPS 2019), the distillation that this replaces, is `durations=attention, mels=teacher` with
a student of pitch=false, energy=false: a teacher that attends says each sentence by itself, and its spectra and the
frames for which its attention stays with each phoneme are what is learned.

Details
- durations=attention alone: the data's spectra and pitch, the durations of the teacher's attention shown these.
- The student takes over mean and deviation of the bands and the ranges of its bins from the training part.
- pitch_loss=l1 and trunk=0.1 (of the predictors' gradient, so much reaches the encoder) are NATSpeech's.
- Students of level=phoneme have a pitch (log Hz) and an energy per phoneme, without wavelets.

FastSpeech 2s (a student with wave=true) decodes the sound itself, x' beside the voice's x in `slice` frames drawn anew:
    stft         mean over resolutions of |S - S'| / |S| + mean |log S - log S'|     S: magnitudes of x
    adversarial  mean (1 - D(x'))^2;  the discriminator D learns mean (1 - D(x))^2 + mean D(x')^2
Its decoder of spectra only helps to learn: the model that comes out has none, and needs no vocoder.

Deviations: the paper's aligner is not needed where a voice says how long it spoke. Energies count in their range.
Student and discriminator look at each other as both are before an update, and D counts from the first one on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from embodkd.core import (
    Budget,
    Context,
    Player,
    Recipe,
    Role,
    Signals,
    Source,
    Speech,
    Teachers,
    no_teacher,
    one_teacher,
    seeded,
)
from embodkd.core.config.ranges import Count, NotNegative, Share
from embodkd.methods import METHODS
from embodkd.parts.speech.sound_terms import cuts, fooling, spectral_distance, telling
from embodkd.parts.speech.targets import with_targets
from embodkd.parts.speech.taught import Taught
from embodkd.parts.speech.wave import Discriminator


@METHODS.register(
    "fastspeech2",
    domain="speech",
    needs="speech",
    family="conditioning",
    paper="arXiv:2006.04558",
    title="FastSpeech 2, and the distillation that it replaces",
    card="fastspeech2",
)
@dataclass(frozen=True)
class SpeechRecipe:
    """durations, mels: whose the student learns; both are "truth" without a teacher. pitch_loss: of curve, mean and
    spread. trunk: the share of the predictors' gradient that reaches the encoder. duration, pitch, energy: weights.
    Of a student with wave=true: slice, in frames; stft, adversarial: weights, 0 of the latter is without discriminator.
    """

    durations: Literal["truth", "attention"] = "truth"
    mels: Literal["truth", "teacher"] = "truth"
    pitch_loss: Literal["mse", "l1"] = "mse"
    trunk: Share = 1.0
    duration: NotNegative = 1.0
    pitch: NotNegative = 1.0
    energy: NotNegative = 1.0
    slice: Count = 32
    stft: NotNegative = 1.0
    adversarial: NotNegative = 4.0

    def recipe(self, student: nn.Module, teachers: Teachers, data: Speech, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage. ValueError for a teacher that is not asked or lacks, and for a student that learns what is not
        there."""
        if not hasattr(student, "adaptor"):
            raise ValueError(f"method fastspeech2: trains a fastspeech2, not a {type(student).__name__}")
        net: Any = student
        net.calibrate(data.train)
        sentences = self.source(net, teachers, data)
        shown = ["phoneme", "phoneme_mask", "duration", "frame_mask"]
        shown += [name for name in ("pitch", "energy") if getattr(net, name)]
        shown += ["cut"] if net.wave is not None else []
        learner = Role(student, view=lambda batch: {name: batch[name] for name in (*shown, "trunk")})
        weights = {"duration": self.duration}
        weights |= {"energy": self.energy} if net.energy else {}
        weights |= dict.fromkeys(self._of_pitch(net), self.pitch) if net.pitch else {}
        if net.wave is not None:
            weights |= {"stft": self.stft, **({"adversarial": self.adversarial} if self.adversarial else {})}
        player = Player(
            learner,
            partial(self.terms, net),
            weights=weights,
            mass=self._mass(net),
            scheduled={"trunk": self.trunk},
            optimiser=budget.optimiser,
        )
        if net.wave is None:
            return budget.fit(player, sentences)
        if "audio" not in data.train.sequences or self.mels == "teacher":
            raise ValueError(
                "method fastspeech2: model.wave=true learns from the sound of the data: set data.audio=true, and "
                "mels=truth"
            )
        players = self.against(player, net, seed) if self.adversarial else (player,)
        prepare = (cuts(self.slice, data.hop),)
        stage = budget.stage(players, sentences, prepare=prepare)
        return Recipe((stage, _Grown(net)) if net.spectra else (stage,), student)

    def against(self, player: Player, net: Any, seed: int) -> tuple[Player, Player]:
        """The student, and who tells its sound from the voice's."""
        with seeded(seed, 0xD15C):
            judge = Discriminator(net.arguments["wave_channels"])

        def told(batch: Signals, s: Signals, made: Signals) -> dict[str, Tensor]:
            return {"telling": telling(s["voice"], s["made"])}

        both = Role(judge, view=lambda batch: {"voice": batch["voice"], "made": batch["made.sound"]})
        seen = Role(judge, "passthrough", view=lambda batch: {"made": batch["s.sound"]})
        fooled = replace(
            player,
            terms=lambda batch, s, judge: {**player.terms(batch, s), "adversarial": fooling(judge["made"])},
            given={"judge": seen},
        )
        made = {"made": player.train}
        return fooled, Player(
            both, told, made, first=("made",), scheduled=player.scheduled, optimiser=player.optimiser, name="judge"
        )

    def source(self, student: Any, teachers: Teachers, data: Speech) -> Source:
        """Where sentences with all that is learned of them come from."""
        finish = partial(with_targets, level=student.adaptor.level)
        if self.durations == "truth":
            no_teacher(teachers, "fastspeech2 with durations=truth")
            if self.mels == "teacher":
                raise ValueError(
                    "method fastspeech2: mels=teacher have the lengths of the teacher: set durations=attention"
                )
            return finish(data.train)
        teacher = one_teacher(teachers, "fastspeech2 with durations=attention")
        if not hasattr(teacher, "ahead"):
            raise ValueError(f"method fastspeech2: asks an attention_tts, not a {type(teacher).__name__}")
        if self.mels == "teacher" and (student.pitch or student.energy):
            raise ValueError(
                "method fastspeech2: nobody knows pitch and energy of mels=teacher: set model.pitch=false and "
                "model.energy=false"
            )
        return Taught(data.train, teacher, spoken=self.mels == "teacher", finish=finish)

    def terms(self, student: Any, batch: Signals, s: Signals) -> Mapping[str, Tensor]:
        """One value per frame, phoneme or sentence."""
        found = {"mel": (s.mel_NTM - batch.mel_NTM).abs().mean(-1)} if student.spectra else {}
        found["duration"] = (s.log_duration_NX - (batch.duration_NX + 1.0).log()).square()
        if student.wave is not None:
            found["stft"] = spectral_distance(s["sound"], batch["voice"], student.hop)
        if student.energy:
            low, high = student.energy_2
            found["energy"] = (s["energy_share"] - (batch["loud"] - low) / (high - low)).square()
        if student.pitch:
            away = {name: s[name] - batch[name] for name in self._of_pitch(student) if name != "unvoiced"}
            away = {name: d.abs() if self.pitch_loss == "l1" else d.square() for name, d in away.items()}
            found |= away | {"curve": away["curve"].mean(-1)}
            found["unvoiced"] = binary_cross_entropy_with_logits(s["unvoiced"], batch["unvoiced"], reduction="none")
        return found

    def _mass(self, student: Any) -> dict[str, str]:
        each = "frame_mask" if student.adaptor.level == "frame" else "phoneme_mask"
        mass = {"duration": "phoneme_mask", **({"mel": "frame_mask"} if student.spectra else {})}
        mass |= {"energy": each} if student.energy else {}
        return mass | ({"curve": "counted", "unvoiced": each} if student.pitch else {})

    def _of_pitch(self, student: Any) -> tuple[str, ...]:
        whole = ("pitch_mean", "pitch_spread") if student.adaptor.level == "frame" else ()
        return ("curve", "unvoiced", *whole)


class _Grown:
    """A step: a student of sound does without spectra from now on."""

    def __init__(self, student: Any) -> None:
        self._student = student

    def __call__(self, context: Context) -> None:
        self._student.without_spectra()

    restore = __call__
