"""Names of targets: resolved beside the probes, on the same epoll, so that no probe ever waits for a resolver twice."""
