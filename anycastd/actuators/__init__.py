"""What acts on the world: BGP through ExaBGP, and the kernel."""
