"""Live pages on localhost: a planner at work, and the progress of a sweep."""
