"""Training loops, batching, objectives and devices."""
