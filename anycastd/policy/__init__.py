"""From health to decisions, each with its reasons. Pure."""
