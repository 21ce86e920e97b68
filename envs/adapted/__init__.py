"""Worlds of other packages as tasks, each module for one extra.

``envs.make("jepabench.envs.adapted.ogbench:adapted/Cube-Single-v1")`` imports it.
"""
