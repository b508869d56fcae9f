from __future__ import annotations

import pytest

from services.console.rules import RuleBroken, check_callback_key, check_callback_url, check_name, check_user_id


@pytest.mark.parametrize("name", ["a", "demo_1", "A" * 15, "会议"])
def test_names_that_are_right(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "A" * 16, "two words", "dash-ed", "a.b", "x\n"])
def test_names_that_are_wrong(name: str) -> None:
    with pytest.raises(RuleBroken):
        check_name(name)


@pytest.mark.parametrize("key", ["", "123654", "Key0123456789abc", "a" * 32])
def test_callback_keys_that_are_right(key: str) -> None:
    assert check_callback_key(key) == key


@pytest.mark.parametrize("key", ["a" * 33, "with space", "Schlüssel1", "key-1", "key\n"])
def test_callback_keys_that_are_wrong(key: str) -> None:
    with pytest.raises(RuleBroken):
        check_callback_key(key)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://a.example/x",
        "https://a.example:8443/x?a=b&c=d",
        "http://[::1]:80/",
        "http://h/" + "a" * (2083 - len("http://h/")),
    ],
)
def test_urls_that_are_right(url: str) -> None:
    assert check_callback_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/",
        "a.example/x",
        "http://",
        "http:///path",
        "http://a.example/ x",
        "http://a.example/\r\nHost: b",
        "http://user:pass@a.example/",
        "http://a.example:99999/",
        "http://[::1/",
        "http://h/" + "a" * 2083,
    ],
)
def test_urls_that_are_wrong(url: str) -> None:
    with pytest.raises(RuleBroken):
        check_callback_url(url)


def test_the_strict_rule_admits_neither_port_nor_second_parameter() -> None:
    assert check_callback_url("http://a.example/x?a=b", strict=True)
    for url in ("http://a.example:80/", "http://a.example/?a=b&c=d"):
        with pytest.raises(RuleBroken):
            check_callback_url(url, strict=True)


@pytest.mark.parametrize("user_id", ["a", "user_1-B", "0" * 32])
def test_user_ids_that_are_right(user_id: str) -> None:
    assert check_user_id(user_id) == user_id


@pytest.mark.parametrize("user_id", ["", "a" * 33, "two words", "a.b", "Zoë", "a\n", "٣"])
def test_user_ids_that_are_wrong(user_id: str) -> None:
    with pytest.raises(RuleBroken):
        check_user_id(user_id)
