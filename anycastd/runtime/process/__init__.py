"""The daemon as a process: its unit, its lock, its rights, its memory, and the one that catches everything."""
