"""Kinds of world models."""
