"""Commands that train, evaluate and inspect a world model."""
