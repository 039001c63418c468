"""Where what must outlive the daemon is kept: one port, and the engines behind it."""
