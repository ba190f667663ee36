"""Corrections of a frozen policy, learned by TD3 on an endless stream of episodes or by PPO on whole ones."""
