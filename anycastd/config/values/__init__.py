"""How each kind of value is read, refused, shown and documented."""
