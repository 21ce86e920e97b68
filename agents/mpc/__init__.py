"""Model predictive control with a learned world model."""
