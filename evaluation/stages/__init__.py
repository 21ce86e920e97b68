"""Idempotent stages: configuration hashes, locks and completion markers."""
