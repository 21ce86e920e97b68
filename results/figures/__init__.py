"""Figures that are drawn from committed tables and shown in the README, the docs and the board."""
