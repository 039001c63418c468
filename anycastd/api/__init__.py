"""The HTTP face of the daemon: read-only over TCP, writes over the unix socket."""
