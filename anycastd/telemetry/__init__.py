"""Metrics and logs."""

from anycastd.hollow import hollow

# what its own first lines import, an HTTP server and a client, is for a scrape's text alone
hollow("prometheus_client")
