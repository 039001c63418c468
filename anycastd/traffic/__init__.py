"""From counters that only grow to rates, totals, history and the 95th percentile. Pure."""
