"""Online reinforcement learning with Stable-Baselines3."""
