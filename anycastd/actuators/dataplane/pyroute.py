"""What we use of pyroute2, without the rest of it."""

from __future__ import annotations

from anycastd.hollow import hollow

hollow("pyroute2")
# of which it wants mock.py alone
hollow("unittest")

# behind the line that makes the package hollow
from pyroute2.iproute.linux import AsyncIPRoute  # noqa: E402
from pyroute2.netlink.exceptions import NetlinkError  # noqa: E402
from pyroute2.netlink.nlsocket import NetlinkRequest  # noqa: E402
from pyroute2.netlink.rtnl import (  # noqa: E402
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV4_RULE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_LINK,
)
from pyroute2.netlink.rtnl.marshal import MarshalRtnl  # noqa: E402

__all__ = [
    "RTMGRP_IPV4_IFADDR",
    "RTMGRP_IPV4_ROUTE",
    "RTMGRP_IPV4_RULE",
    "RTMGRP_IPV6_IFADDR",
    "RTMGRP_IPV6_ROUTE",
    "RTMGRP_LINK",
    "AsyncIPRoute",
    "MarshalRtnl",
    "NetlinkError",
    "NetlinkRequest",
]
