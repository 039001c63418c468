"""Orders of operators: drains, overrides, the freeze, blackholes, flow rules, and the end that was asked for."""
