"""From probe results to what is believed of tunnels, backends, regions and the POP. Pure."""
