"""A tokenizer.json as transformers wants it beside a language model."""

from __future__ import annotations

from typing import Any


def as_transformers(transformers: Any, spelling: str, start: int, end: int | None) -> Any:
    """The tokenizer of transformers that `spelling` (tokenizer.json) is; it puts the token `start` before a text, as
    the model does."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    own = Tokenizer.from_str(spelling)
    words = {"bos_token": own.id_to_token(start), "eos_token": None if end is None else own.id_to_token(end)}
    first = words["bos_token"]
    own.post_processor = TemplateProcessing(single=f"{first} $A", special_tokens=[(first, start)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=own, **{k: v for k, v in words.items() if v})
