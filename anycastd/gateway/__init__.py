"""The region's end of the tunnels: the few lines of nftables and `ip` that answers need to find their way back."""
