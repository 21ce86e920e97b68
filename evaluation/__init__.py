"""Evaluation: suites, the scoring loop, records of episodes, statistics and idempotent stages."""
