"""Whether an attack is on, what it looks like, what may be done about it, and what a step would do. Pure."""
