"""How it is done: executor, workers, launchers and time estimates."""
