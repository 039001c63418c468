"""`probes`: where checks are carried out."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import duration, whole
from anycastd.model.probing import ProbingConfig

_DEFAULT = ProbingConfig()


class ProbesSection(Section):
    """Checks run in the daemon's own process unless told otherwise: it does about 5,000 a second on one core.

    Workers take icmp, tcp, http, tls and dns checks off it. While one is away, its checks become UNKNOWN.
    """

    workers: Annotated[int, whole(0, 64)] = Field(
        default=_DEFAULT.workers, description="In how many further processes checks run; 0: in the daemon."
    )
    worker_start: Annotated[float, duration(0.5, 600.0)] = Field(
        default=_DEFAULT.worker_start_s, description="How long one may take to start."
    )
    worker_silent: Annotated[float, duration(0.3, 600.0)] = Field(
        default=_DEFAULT.worker_silent_s, description="One that says nothing for so long is away."
    )
    worker_replace: Annotated[float, duration(0.0, 3600.0)] = Field(
        default=_DEFAULT.worker_replace_s, description="And after so much longer it is killed, and another started."
    )
