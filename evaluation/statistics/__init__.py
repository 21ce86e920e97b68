"""Intervals, success tables and aggregates over runs."""
