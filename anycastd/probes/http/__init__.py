"""HTTP and HTTPS check: one GET on a new connection."""
