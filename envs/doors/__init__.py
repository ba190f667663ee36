"""Doors onto a batched task: Gymnasium, Gymnasium's vector environments, stable-baselines3."""
