"""Gradients through or about training: virtual steps, influence, linear systems known by products."""
