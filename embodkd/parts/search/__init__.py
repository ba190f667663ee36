"""Architectures searched for, and judged without training."""
