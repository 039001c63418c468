"""Tests of seeing an attack."""
