"""Where a client is and who connects it: from its address, which is forgotten at once."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

import maxminddb

from services.runtime.service import CannotStart

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address

    from services.runtime.settings import Settings

    Address = IPv4Address | IPv6Address

_MOST_FORWARDS = 20
_MOST_CHARACTERS = 64


class Place(NamedTuple):
    """Empty where it is unknown."""

    region: str = ""
    isp: str = ""


class Places:
    """Databases in MaxMind's format that the operator supplies. Without any, nothing is known of anybody."""

    def __init__(self, settings: Settings) -> None:
        """Raises `CannotStart` where a database is not one."""
        self._regions = _open(str(settings.region_database or ""), "ROOMPULSE_REGION_DATABASE")
        self._isps = _open(str(settings.isp_database or ""), "ROOMPULSE_ISP_DATABASE")
        self._trusted = _networks(settings.trusted_proxies)
        self._known = lru_cache(maxsize=50_000)(self._look_up)

    def of(self, peer: str | None, forwarded_for: Sequence[str]) -> Place:
        """The place of whoever sent a request, by the connection's peer and its `X-Forwarded-For` headers."""
        if self._regions is None and self._isps is None:
            return Place()
        address = self.client(peer, forwarded_for)
        return Place() if address is None else self._known(address)

    def client(self, peer: str | None, forwarded_for: Sequence[str]) -> Address | None:
        """The client's address: the last in the chain that is not one of our proxies, None where it cannot be read.

        Whatever stands before an address that we do not trust anybody may have written.
        """
        address = _address(peer or "")
        hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
        for hop in reversed(hops[-_MOST_FORWARDS:]):
            if address is None or not self._is_trusted(address):
                break
            address = _address(hop)
        return address

    def _is_trusted(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._trusted)

    def _look_up(self, address: Address) -> Place:
        return Place(_region(_get(self._regions, address)), _isp(_get(self._isps, address)))


def _open(path: str, setting: str) -> maxminddb.Reader | None:
    if not path:
        return None
    try:
        return maxminddb.open_database(path, maxminddb.MODE_AUTO)
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        raise CannotStart(f"{setting}: {path} cannot be read as a MaxMind database: {error}") from error


def _get(database: maxminddb.Reader | None, address: Address) -> dict[str, Any]:
    if database is None or (address.version == 6 and database.metadata().ip_version == 4):
        return {}
    found = database.get(address)
    return found if isinstance(found, dict) else {}


def _region(found: dict[str, Any]) -> str:
    """A part of a country where the database knows it: `Bavaria, Germany`."""
    names = [_name(part) for part in (found.get("subdivisions") or [])[:1]]
    names.append(_name(found.get("country") or found.get("registered_country") or {}))
    return ", ".join(name for name in names if name)[:_MOST_CHARACTERS]


def _name(part: dict[str, Any]) -> str:
    return str((part.get("names") or {}).get("en") or part.get("iso_code") or "")


def _isp(found: dict[str, Any]) -> str:
    traits = found.get("traits") or {}
    fields = ("isp", "autonomous_system_organization", "organization")
    names = (part[name] for name in fields for part in (found, traits) if part.get(name))
    return str(next(names, ""))[:_MOST_CHARACTERS]


def _address(text: str) -> Address | None:
    """An address as it stands in a header: with a port, in brackets, or an IPv4 address within IPv6."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _networks(text: str) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise CannotStart(f"ROOMPULSE_TRUSTED_PROXIES: {error}") from error
