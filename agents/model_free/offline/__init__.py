"""Offline goal-conditioned methods trained on the suite's datasets."""
