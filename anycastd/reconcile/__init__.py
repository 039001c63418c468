"""From wanted and observed to actions. Pure."""
