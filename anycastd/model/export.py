"""Why a route does not leave, whatever wanted it (S11)."""

from __future__ import annotations

from enum import StrEnum


class ExportRefusal(StrEnum):
    """The rule of the export allow-list that a route breaks. The value is the metric label and heading in the docs."""

    NEIGHBOR_UNKNOWN = "neighbor_unknown"
    PREFIX_NOT_CONFIGURED = "prefix_not_configured"
    PREFIX_NOT_FOR_NEIGHBOR = "prefix_not_for_neighbor"
    FOREIGN_ORIGIN = "foreign_origin"
    FOREIGN_NEXT_HOP = "foreign_next_hop"
    TOO_MANY_PREFIXES = "too_many_prefixes"
    FILTER_NOT_TAKEN = "filter_not_taken"
    NOT_OUR_ADDRESS = "not_our_address"
    TOO_MANY_FILTERS = "too_many_filters"
