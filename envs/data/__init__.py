"""Datasets of episodes: collecting, storing and exchanging them."""
