"""Configuration, suites, and the plan of stages that produces their results."""
