"""Policies that were trained elsewhere, as agents."""
