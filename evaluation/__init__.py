"""The rules: suites, the only scoring loop, per-episode records, statistics, idempotent runs."""
