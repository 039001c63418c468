"""Around ExaBGP: the gate in front of it, what it tells, and what the bridge may say without us."""
