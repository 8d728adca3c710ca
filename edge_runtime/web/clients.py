"""Who a client is, and how often it may do something."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict

MOST_CLIENTS = 1000


def client_of(address: str) -> str:
    """Return the client behind an IP address: an IPv4 address, or an IPv6 network of 64 bits.

    One machine usually has a whole network of IPv6 addresses, so a limit per address has no effect.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        if not ip.is_loopback:
            return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


class Rate:
    """A rate limit per client: a token bucket that holds half a minute's worth of requests."""

    def __init__(self, per_minute: int) -> None:
        self._per_s = per_minute / 60
        self._burst = max(1.0, per_minute / 2)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, client: str) -> bool:
        """Return whether `client` may make a request now, and count it if so."""
        left = self._left_for(client)
        allowed = left >= 1
        self._left.pop(client, None)
        self._left[client] = (left - allowed, time.monotonic())
        while len(self._left) > MOST_CLIENTS:
            self._left.popitem(last=False)
        return allowed

    def is_used_up(self, client: str) -> bool:
        """Return whether `allow` would refuse `client`; counts nothing."""
        return self._left_for(client) < 1

    def _left_for(self, client: str) -> float:
        now_s = time.monotonic()
        left, at_s = self._left.get(client, (self._burst, now_s))
        return min(self._burst, left + (now_s - at_s) * self._per_s)
