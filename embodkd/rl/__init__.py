"""Teachers by reinforcement learning: stable-baselines3's PPO on the batched simulator."""
