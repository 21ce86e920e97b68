"""Commands that run and compare suites."""
