"""`pop`: who this POP is."""

from __future__ import annotations

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import Name
from anycastd.config.values.net import Asn, Ipv4Field


class PopSection(Section):
    """This POP. Changes need a restart."""

    name: Name = Field(description="Its name, unique among your POPs; shown in status, logs and metrics.")
    asn: Asn = Field(description="Your AS number.")
    router_id: Ipv4Field = Field(description="BGP identifier, unique in your AS: usually an IPv4 address of this POP.")
