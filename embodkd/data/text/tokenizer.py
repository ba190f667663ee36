"""Tokenizers of the library tokenizers: characters, byte-level BPE trained on the spot, or one that is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from embodkd.data.partition import from_package

SPECIAL = ("<pad>", "<s>", "</s>")
"""Of the tokenizers that are made here: padding, start and end, tokens 0, 1 and 2."""
BYTES = 256


class Tokenizer:
    """What makes tokens of text and text of tokens; `to_json` is all of it, as tokenizer.json has it.

    start, end, pad: the tokens that stand before a text, behind it, and where a row has none.
    """

    def __init__(self, spelling: str, start: int = 1, end: int = 2, pad: int = 0) -> None:
        self.start, self.end, self.pad = start, end, pad
        self._json = spelling

    @classmethod
    def characters(cls, alphabet: str) -> Tokenizer:
        """One token per character of `alphabet`, in its order, behind the special ones."""
        own = _library()
        tokens = {token: number for number, token in enumerate((*SPECIAL, *alphabet))}
        made = own.Tokenizer(own.models.WordLevel(tokens, unk_token=SPECIAL[0]))
        made.pre_tokenizer = own.pre_tokenizers.Split("", "isolated")
        made.decoder = own.decoders.Fuse()
        made.add_special_tokens(list(SPECIAL))
        return cls(made.to_str())

    @classmethod
    def bpe(cls, texts: Iterable[str], vocabulary: int) -> Tokenizer:
        """Byte-pair encoding on bytes (Sennrich et al., ACL 2016), trained on `texts`: any text has tokens.

        vocabulary: how many tokens, special ones and the 256 bytes among them; of few texts there may be fewer to be
        found. The same texts give the same tokenizer.
        """
        own = _library()
        made = own.Tokenizer(own.models.BPE())
        made.pre_tokenizer = own.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = own.decoders.ByteLevel()
        trainer = own.trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=list(SPECIAL),
            initial_alphabet=own.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        made.train_from_iterator(texts, trainer)
        return cls(made.to_str())

    @classmethod
    def of(cls, place: str) -> Tokenizer:
        """The tokenizer of a pretrained model: a folder, or an id of the hub, without any code of its own.

        ValueError if there is none, or one without a token that could begin or end a text.
        """
        transformers = from_package("transformers", "texts", "language")
        try:
            found = transformers.AutoTokenizer.from_pretrained(place, trust_remote_code=False, use_fast=True)
            spelling = found.backend_tokenizer.to_str()
        except (OSError, ValueError, AttributeError) as error:
            said = " ".join(str(error).split())[:300]
            raise ValueError(f"tokenizer={place}: no tokenizer can be read there: {said}") from error
        end = found.eos_token_id
        start = end if found.bos_token_id is None else found.bos_token_id
        if start is None or end is None:
            raise ValueError(f"tokenizer={place}: has no token that ends a text (eos)")
        return cls(spelling, start, end, end if found.pad_token_id is None else found.pad_token_id)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without any before or behind it."""
        return list(self._own.encode(text, add_special_tokens=False).ids)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of many texts."""
        return [list(found.ids) for found in self._own.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, special ones left out."""
        return str(self._own.decode(list(tokens), skip_special_tokens=True))

    def to_json(self) -> str:
        """All of it."""
        return self._json

    def __len__(self) -> int:
        return int(self._own.get_vocab_size())

    def filled(self, rows: Sequence[Sequence[int]], length: int) -> tuple[Tensor, Tensor]:
        """(tokens (N, T) int64 filled up with `pad`, how many each row has (N,)); no row is longer than `length`."""
        tokens_NT = torch.full((len(rows), length), self.pad)
        for tokens_T, row in zip(tokens_NT, rows, strict=True):
            tokens_T[: len(row)] = torch.tensor(row, dtype=torch.int64)
        return tokens_NT, torch.tensor([len(row) for row in rows])

    @cached_property
    def _own(self) -> Any:
        return _library().Tokenizer.from_str(self._json)


def _library() -> Any:
    return from_package("tokenizers", "texts", "language")
