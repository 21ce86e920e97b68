"""Searches over action sequences. A planner sees a cost function, never a model or a world."""
