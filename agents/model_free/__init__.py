"""Policies learned without planning: Stable-Baselines3 online, short offline methods on the suite's data."""
