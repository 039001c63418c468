"""What breaks a POP on this machine: facts are collected once, and judged by pure checks."""
