"""Exec check: a program of the operator says whether the target is well. A process of its own starts and ends it."""
