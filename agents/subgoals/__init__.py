"""Subgoals: graphs over the data, higher levels of a hierarchy, and detours around zones."""
