"""The same faults done to us and to our nearest peers, each with its real programs; not part of `make test`."""
