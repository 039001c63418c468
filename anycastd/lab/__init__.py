"""Networks of Linux namespaces, described by a strict subset of containerlab's topology files (docs/lab.md)."""
