"""Attacks as the daemon sees them: the POP's totals, each EIP, samples of packets."""
