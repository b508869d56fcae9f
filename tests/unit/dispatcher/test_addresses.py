"""Addresses that callbacks may go to, and those that they may not."""

from __future__ import annotations

import socket

import pytest

from services.dispatcher.addresses import AddressGuard, BlockedAddress

PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1"]
PUBLIC += ["192.167.1.1", "223.255.255.254", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "::ffff:8.8.8.8"]
HIDDEN = {
    "loopback": ["127.0.0.1", "127.1.2.3", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1"],
    "this machine": ["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"],
    "private": ["10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "::ffff:10.1.2.3"],
    "private, version 6": ["fc00::1", "fd12:3456:789a::1", "fec0::1"],
    "link": ["169.254.0.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.1.1"],
    "metadata of clouds": ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200"],
    "services of a cloud": ["168.63.129.16"],
    "carriers": ["100.64.0.1", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "broadcast and reserved": ["255.255.255.255", "240.0.0.1", "254.1.1.1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1"],
    "benchmarks": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "protocols": ["192.0.0.1", "192.0.0.170", "192.88.99.1", "2001::1", "5f00::1", "100::1", "4000::1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1"],
    "6to4": ["2002:7f00:1::1", "2002:a9fe:a9fe::1"],
    "Teredo": ["2001:0:53aa:64c::1"],
    "version 4 in old spellings of 6": ["::127.0.0.1", "::10.0.0.1", "::ffff:0:127.0.0.1"],
    "no address": ["", "localhost", "127.1", "0x7f000001", "2130706433", "017700000001", "8.8.8.8 ", "8.8.8", "::g"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert AddressGuard().permits(address)


@pytest.mark.parametrize("address", [address for addresses in HIDDEN.values() for address in addresses])
def test_addresses_that_are_nobody_elses_business(address: str) -> None:
    assert not AddressGuard().permits(address)


def test_an_installation_may_allow_networks() -> None:
    guard = AddressGuard(" 127.0.0.0/8, ::1/128 ,10.1.0.0/16,")
    allowed = ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "8.8.8.8"]
    assert [address for address in allowed if not guard.permits(address)] == []
    assert not guard.permits("10.2.0.1")
    assert not guard.permits("169.254.169.254")


@pytest.mark.parametrize("allowed", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "*"])
def test_what_is_no_network_is_refused(allowed: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        AddressGuard(allowed)


def test_no_socket_for_a_hidden_address() -> None:
    guard = AddressGuard()
    with pytest.raises(BlockedAddress, match=r"127\.0\.0\.1"):
        guard.open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80)))
    guard.open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("8.8.8.8", 80))).close()
