"""A new configuration file: read, judged, applied, tried, and taken back."""
