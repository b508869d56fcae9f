"""Small databases in MaxMind's format: three countries, three providers, both families of addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

if TYPE_CHECKING:
    from pathlib import Path

COUNTRIES = {
    "81.2.69.0/24": ("Germany", "Bavaria"),
    "2001:db8:1::/48": ("Germany", "Bavaria"),
    "89.160.20.0/24": ("Sweden", ""),
    "175.16.199.0/24": ("China", "Jilin Sheng"),
}
PROVIDERS: dict[str, dict[str, Any]] = {
    "81.2.69.0/24": {"isp": "Munich Net"},
    "89.160.20.0/24": {"autonomous_system_organization": "Bredband2 AB", "organization": "other"},
    "175.16.199.0/24": {"traits": {"isp": "China Unicom"}},
}


def write_databases(folder: Path) -> dict[str, Path]:
    """Write both; the result is by the names of their settings."""
    regions, isps = (MMDBWriter(6, f"Test-{kind}", ipv4_compatible=True) for kind in ("City", "ISP"))
    for network, (country, part) in COUNTRIES.items():
        found: dict[str, Any] = {"country": {"iso_code": country[:2].upper(), "names": {"en": country}}}
        if part:
            found["subdivisions"] = [{"names": {"en": part}}]
        regions.insert_network(IPSet([network]), found)  # type: ignore[no-untyped-call]
    for network, provider in PROVIDERS.items():
        isps.insert_network(IPSet([network]), provider)  # type: ignore[no-untyped-call]
    paths = {"region_database": folder / "city.mmdb", "isp_database": folder / "isp.mmdb"}
    regions.to_db_file(str(paths["region_database"]))
    isps.to_db_file(str(paths["isp_database"]))
    return paths
