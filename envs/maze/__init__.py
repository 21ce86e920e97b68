"""Mazes: PointMaze (force-controlled) and TwoRoom (displacement-controlled)."""
