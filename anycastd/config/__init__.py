"""The configuration file: read, checked whole, and built into the frozen values of `model`.

text -> document (values with places) -> schema (pydantic, one file a section) -> check (what only the whole file
shows) -> build (`model.topology.Config`). Pydantic stays in this package.
"""
