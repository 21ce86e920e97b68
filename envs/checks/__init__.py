"""Conformance checks for environments, and the scaffold that drafts a new one."""
