"""Worlds of other packages as tasks, each module for one extra. ``envs.make("envs.adapted.ogbench:adapted/Cube-Single-v1")`` imports it."""
