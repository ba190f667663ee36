"""Weights: what multiplies a term, and the curves that numbers follow over updates."""
