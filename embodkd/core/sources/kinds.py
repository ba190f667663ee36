"""Kinds of data sets, in words alone: what methods say that they learn from, and what models are built for."""

from __future__ import annotations

KINDS = ("splits", "texts", "pairs", "speech", "views")
"""`DataSet.kind` of a data set, `kind=` of its factory, and a method's `needs`: items with classes, sequences of
tokens, things that belong together two by two, spoken sentences, pictures with the places that they were taken from."""

FACTS = (
    "shape", "classes", "vocabulary", "length", "start", "end", "box", "cells", "phonemes", "mels", "rate", "hop",
)  # fmt: skip
"""What `DataSet.facts` may say, so no model has an option of such a name.

shape: of an input; classes, vocabulary: how many there are; length: of the longest sequence; start, end: the token
before the first one and the one behind the last, None where there is none. phonemes, mels: how many symbols speech is
written with, how many bands its spectra have; rate: of sound, Hz; hop: of a frame, samples.
"""
