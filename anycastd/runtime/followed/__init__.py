"""Whether anything followed what was done: a change of level, a drain."""
