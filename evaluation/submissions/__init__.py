"""Submissions: schema, reading, and the checks that need no simulator."""
