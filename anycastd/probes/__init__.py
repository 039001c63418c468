"""Probes: each runs against one target and ends in a value, whatever happened."""
