"""The packet filter's table of ours, and the connections that the kernel tracks."""
