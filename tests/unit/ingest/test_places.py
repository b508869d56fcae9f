"""Where clients are, by a small database made for the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from services.ingest.places import Place, Places
from services.runtime.service import CannotStart
from services.runtime.settings import Settings
from tests.support.places import write_databases

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {**write_databases(tmp_path_factory.mktemp("places"))}


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("81.2.69.142", Place("Bavaria, Germany", "Munich Net")),
        ("::ffff:81.2.69.142", Place("Bavaria, Germany", "Munich Net")),
        ("2001:db8:1::7", Place("Bavaria, Germany", "")),
        ("89.160.20.1", Place("Sweden", "Bredband2 AB")),
        ("175.16.199.1", Place("Jilin Sheng, China", "China Unicom")),
        ("127.0.0.1", Place()),
        ("fe80::1%eth0", Place()),
        ("", Place()),
        (None, Place()),
    ],
)
def test_an_address_has_a_place(databases: dict[str, Any], address: str | None, place: Place) -> None:
    assert Places(Settings(**databases)).of(address, ()) == place


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # Who is not a proxy of ours may write what it likes.
        ("89.160.20.1", ["81.2.69.142"], "89.160.20.1"),
        ("10.1.2.3", ["81.2.69.142"], "81.2.69.142"),
        ("10.1.2.3", ["1.2.3.4, 81.2.69.142"], "81.2.69.142"),
        ("10.1.2.3", ["81.2.69.142, 10.9.9.9"], "81.2.69.142"),
        ("10.1.2.3", ["1.2.3.4", "81.2.69.142:4711"], "81.2.69.142"),
        ("fd00::1", ["[2001:db8:1::7]:443"], "2001:db8:1::7"),
        ("fd00::1", ['"[2001:db8:1::7]"'], "2001:db8:1::7"),
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", ["unknown"], None),
        ("10.1.2.3", ["81.2.69.142, _hidden"], None),
        ("10.1.2.3", [", ".join(["10.0.0.1"] * 1000)], "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_who_is_not_a_proxy_of_ours(peer: str, forwarded: list[str], client: str | None) -> None:
    found = Places(Settings(trusted_proxies="10.0.0.0/8, fd00::/8")).client(peer, forwarded)
    assert (None if found is None else str(found)) == client


def test_without_a_database_nothing_is_known() -> None:
    assert Places(Settings()).of("81.2.69.142", ()) == Place()


@pytest.mark.parametrize("settings", [{"trusted_proxies": "10.0.0.0/33"}, {"region_database": __file__}])
def test_what_cannot_be_used_is_told_at_the_start(settings: dict[str, Any]) -> None:
    with pytest.raises(CannotStart, match="ROOMPULSE_"):
        Places(Settings(**settings))


def test_a_database_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="ROOMPULSE_ISP_DATABASE"):
        Places(Settings(isp_database=tmp_path / "none.mmdb"))
