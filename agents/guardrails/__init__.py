"""Guardrails: calibrated constraints on imagined states."""
