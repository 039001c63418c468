"""What is carried: counters read and made sense of, connections counted, the POP's load."""
