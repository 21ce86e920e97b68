"""Tasks that adapt environments of other packages, with one module per optional package.

The id of a task names its module: ``jepabench.envs.adapted.ogbench:adapted/Cube-Single-v1``.
"""
