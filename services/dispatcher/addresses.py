"""Which addresses a callback may go to: customers' URLs are hostile input."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohappyeyeballs import AddrInfoType

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# What `ipaddress` counts as global although a request to it may end inside.
_ALSO_BLOCKED: tuple[Network, ...] = (
    ipaddress.ip_network("192.88.99.0/24"),  # relays of 6to4
    ipaddress.ip_network("64:ff9b::/96"),  # NAT64
    ipaddress.ip_network("64:ff9b:1::/48"),  # NAT64 of one's own
    ipaddress.ip_network("2002::/16"),  # 6to4
    ipaddress.ip_network("2001::/32"),  # Teredo
    ipaddress.ip_network("::/96"),  # addresses of version 4 in the oldest spelling
    ipaddress.ip_network("fec0::/10"),  # site-local
    ipaddress.ip_network("168.63.129.16/32"),  # services of a cloud for its own machines
)


BLOCKED_ERRNO = -1
"""The number of `BlockedAddress`, no number of the system: several errors of one connection leave only that behind."""


class BlockedAddress(OSError):
    """A URL leads to an address that callbacks may not go to."""

    def __init__(self, address: str) -> None:
        super().__init__(BLOCKED_ERRNO, f"callbacks may not go to {address}")


class AddressGuard:
    """Vets addresses right before a socket connects to them.

    It sees the address itself, whatever spelling or name led to it, so there is no gap between look-up and connection.
    """

    def __init__(self, allowed: str = "") -> None:
        """`allowed`: networks, separated by commas, that are fine although they are not public.

        Raises `ValueError` for what is no network.
        """
        self._allowed = [ipaddress.ip_network(part.strip()) for part in allowed.split(",") if part.strip()]

    def permits(self, address: str) -> bool:
        """Whether a callback may go to an address."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        if any(parsed in network for network in self._allowed):
            return True
        return _is_public(parsed)

    def vet(self, address: str) -> None:
        """Raise `BlockedAddress` for one that callbacks may not go to."""
        if not self.permits(address):
            raise BlockedAddress(address)

    def open_socket(self, addr_info: AddrInfoType) -> socket.socket:
        """A socket for an address that is about to be connected to. Raises `BlockedAddress`."""
        family, kind, protocol, _, address = addr_info
        self.vet(str(address[0]))
        return socket.socket(family, kind, protocol)


def _is_public(address: Address) -> bool:
    # Zones name interfaces of this machine.
    if getattr(address, "scope_id", None) is not None:
        return False
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    return not any(address in network for network in _ALSO_BLOCKED)
