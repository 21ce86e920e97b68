"""Presets, found by JEPA Bench through the entry point group ``jepabench.presets``."""
