"""Presets: where they are looked up, and how agents of other packages and variants are made."""
