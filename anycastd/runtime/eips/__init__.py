"""EIPs: stored and changed at the desk, and what the daemon makes of them."""
