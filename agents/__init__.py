"""Anything that acts: planners over learned models, reinforcement learning, scripts. Evaluation sees only `Agent`."""
