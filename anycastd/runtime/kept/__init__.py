"""What outlives the daemon: small files, each replaced whole."""
