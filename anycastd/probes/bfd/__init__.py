"""BFD (RFC 5880, 5881, 5883): codec, session machine, its own process, and the daemon's end of it."""
