"""Agents that collect data: behaviours with a planner, and online learning in rounds."""
