"""A world model, a planner and a cost for JEPA Bench."""
