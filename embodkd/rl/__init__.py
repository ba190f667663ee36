"""Reinforcement learning on the batched simulator, built on stable-baselines3.

Teachers learn by PPO, corrections of frozen policies (`residual`) by TD3 or PPO; `loop` runs either in a run folder.
"""
