"""anycastd: announce, depreference and withdraw anycast prefixes by the health of what is behind them."""

__version__ = "0.1.0"
