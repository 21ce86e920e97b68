"""Learned models of the worlds: what they encode, what they predict, how they are trained and what they know."""
