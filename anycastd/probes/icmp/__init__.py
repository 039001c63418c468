"""ICMP check: echo request and reply (RFC 792, RFC 4443)."""
