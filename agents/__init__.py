"""Agents: planners over learned models, reinforcement learning and scripts."""
