"""What the POPs of a fleet tell each other by BGP, and who of them is counted. Pure."""
