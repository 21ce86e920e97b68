"""Verification of submissions at three levels: valid, replayed, re-run."""
