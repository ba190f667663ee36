"""Robots behind one interface: they add themselves to a model, take actions in [-1, 1] and report proprioception."""
