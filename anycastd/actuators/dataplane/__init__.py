"""The kernel's routes, rules and links."""
