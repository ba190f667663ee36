"""A contour of pitch as its continuous wavelet transform (Mexican hat, ten scales an octave apart), and back.

    y = (log F0 - mu) / sigma,   F0 interpolated where there is no voice, mu and sigma of the sentence's frames
    W_j = Re ifft(fft(y) sqrt(s_j w_1 N) (s_j w)^2 exp(-(s_j w)^2 / 2) / sqrt(Gamma(5/2))),   s_j = 0.01 * 2^j seconds,
y filled up with zeros to N, a power of two, and w = 2 pi fftfreq(N, 5 ms). Back: y = sum over i = 1..10 of
W_i (i + 5/2)^(-5/2), made of mean 0 and deviation 1 again. 5 ms is the frame's nominal length, whatever the hop.
Sources: Torrence and Compo, 1998; Hirose and Tao, 2015; NATSpeech.
"""

from __future__ import annotations

from math import gamma, pi, sqrt

import numpy as np
import torch
from torch import Tensor

SCALES = 10
_FIRST, _STEP = 0.01, 0.005
"""Seconds: the smallest scale, the nominal length of a frame."""


def contour(pitch_T: np.ndarray) -> tuple[np.ndarray, float, float]:
    """(y (T,), mu, sigma) of a pitch in Hz, 0 where there is no voice; a constant one has y = 0 and sigma = 0."""
    voiced = np.flatnonzero(pitch_T > 0)
    log_T = np.log(np.interp(np.arange(len(pitch_T)), voiced, pitch_T[voiced].astype(np.float64)))
    mean, deviation = float(log_T.mean()), float(log_T.std())
    deviation = 0.0 if deviation < 1e-9 else deviation
    return (log_T - mean) / (deviation or 1.0), mean, deviation


def transformed(y_T: np.ndarray) -> np.ndarray:
    """W (T, SCALES)."""
    size = 1 << max(0, int(np.ceil(np.log2(len(y_T)))))
    w = 2 * pi * np.fft.fftfreq(size, _STEP)
    first = w[1] if size > 1 else 0.0
    scale_J1 = (_FIRST * 2.0 ** np.arange(SCALES))[:, None]
    hat = np.sqrt(scale_J1 * first * size) * (scale_J1 * w) ** 2 * np.exp(-((scale_J1 * w) ** 2) / 2) / sqrt(gamma(2.5))
    found: np.ndarray = np.fft.ifft(np.fft.fft(y_T, size) * hat).real[:, : len(y_T)].T
    return found


def inverse(w_NTJ: Tensor, mask_NT: Tensor, mean_N: Tensor, deviation_N: Tensor) -> Tensor:
    """Hz of each frame, (N, T), 1 outside the mask; both moments are taken over the frames that are there."""
    weight_J = (torch.arange(1, SCALES + 1, device=w_NTJ.device) + 2.5) ** -2.5
    y_NT = (w_NTJ * weight_J.to(w_NTJ)).sum(-1)
    y_NT = standardised(y_NT, mask_NT)
    # within what any voice can sing, however wild the prediction
    return (y_NT * deviation_N[:, None] + mean_N[:, None]).clamp(0.0, 9.0).exp().where(mask_NT, torch.ones_like(y_NT))


def standardised(y_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """Of mean 0 and (population) deviation 1 over the mask, 0 outside."""
    count_N1 = mask_NT.sum(1, keepdim=True).clamp(min=1)
    y_NT = y_NT.masked_fill(~mask_NT, 0.0)
    centred_NT = (y_NT - y_NT.sum(1, keepdim=True) / count_N1).masked_fill(~mask_NT, 0.0)
    deviation_N1 = (centred_NT.square().sum(1, keepdim=True) / count_N1).sqrt()
    return centred_NT / deviation_N1.clamp(min=1e-8)
