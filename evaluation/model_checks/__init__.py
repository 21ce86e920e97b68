"""Checks of world models: diagnosis, probes, surprise and generalization."""
