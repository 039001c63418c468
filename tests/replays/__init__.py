"""Decisions recorded by `anycastd decisions export`; a test decides each again."""
