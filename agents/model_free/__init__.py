"""Policies without planning: Stable-Baselines3 online, and short offline methods on datasets."""
