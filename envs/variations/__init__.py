"""Changes of a world: factors of variation at reset, and events between two steps."""
