"""Texts as data sets, one file per source, and the tokenizers that make tokens of them."""

from embodkd.data.text.tokenizer import Tokenizer

__all__ = ["Tokenizer"]
