"""Users' devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from schemas.words import TerminalType, UserType
from services.simulator.traffic.seeds import random_of

if TYPE_CHECKING:
    from random import Random

Encoding = Literal["identity", "gzip", "zstd"]


class Profile(Struct, frozen=True, kw_only=True):
    """What a user is in a room with. It stays the user's own over all calls."""

    terminal_type: int
    user_type: int
    sdk_type: str
    sdk_version: str
    device_model: str
    os: str
    network_type: str
    mobile: bool
    reads_cpu: bool
    """Browsers and some phones cannot tell the processor's load."""
    simulcast: bool
    """Sends a small twin of its picture."""
    encoding: Encoding
    """How its SDK packs reports."""


class _Family(Struct, frozen=True, kw_only=True):
    weight: int
    terminal_type: int
    user_type: int = UserType.NATIVE_SDK
    sdk_type: str
    versions: tuple[str, ...]
    devices: tuple[tuple[str, str], ...]
    """Model and operating system."""
    mobile: bool = False
    reads_cpu: float = 1.0
    encoding: Encoding = "identity"


_FAMILIES = (
    _Family(
        weight=30,
        terminal_type=TerminalType.ANDROID,
        sdk_type="Android",
        versions=("12.3.0.15971", "12.1.0.14886", "11.9.0.13460"),
        devices=(
            ("Pixel 8", "Android 15"),
            ("Galaxy S23", "Android 14"),
            ("Redmi Note 12", "Android 13"),
            ("P40", "Android 10"),
        ),
        mobile=True,
        reads_cpu=0.6,
        encoding="gzip",
    ),
    _Family(
        weight=25,
        terminal_type=TerminalType.IOS,
        sdk_type="iOS",
        versions=("12.3.0.15971", "12.0.1.14652"),
        devices=(("iPhone15,3", "iOS 18.1"), ("iPhone13,2", "iOS 17.6"), ("iPad14,1", "iPadOS 18.0")),
        mobile=True,
        encoding="zstd",
    ),
    _Family(
        weight=25,
        terminal_type=TerminalType.OTHER,
        user_type=UserType.WEBRTC,
        sdk_type="WebRTC",
        versions=("5.8.3", "5.6.1", "4.15.22"),
        devices=(("Chrome 131", "Windows 11"), ("Safari 18", "macOS 15"), ("Firefox 133", "Ubuntu 24.04")),
        reads_cpu=0.0,
    ),
    _Family(
        weight=12,
        terminal_type=TerminalType.WINDOWS,
        sdk_type="Windows",
        versions=("12.3.0.15971", "11.8.0.13177"),
        devices=(("ThinkPad X1", "Windows 11"), ("OptiPlex 7090", "Windows 10")),
    ),
    _Family(
        weight=5,
        terminal_type=TerminalType.OTHER,
        sdk_type="macOS",
        versions=("12.3.0.15971",),
        devices=(("MacBookPro18,3", "macOS 15.1"),),
    ),
    _Family(
        weight=3,
        terminal_type=TerminalType.OTHER,
        user_type=UserType.APPLET,
        sdk_type="MiniProgram",
        versions=("2.0.9",),
        devices=(("Mate 60", "HarmonyOS 4.2"),),
        mobile=True,
        reads_cpu=0.0,
    ),
)
_WEIGHTS = [family.weight for family in _FAMILIES]
MOBILE_NETWORKS = ("WiFi", "4G", "5G", "3G")
NETWORK_CODES = {"WiFi": 1, "4G": 2, "3G": 3, "Wired": 5}
"""`ParamOne` of client event 1003; 5G has none and counts as 4G."""


def profile_of(seed: int, user_id: str) -> Profile:
    """The device of a user."""
    rng = random_of(seed, "profile", user_id)
    family = rng.choices(_FAMILIES, _WEIGHTS)[0]
    model, system = rng.choice(family.devices)
    return Profile(
        terminal_type=family.terminal_type,
        user_type=family.user_type,
        sdk_type=family.sdk_type,
        sdk_version=rng.choice(family.versions),
        device_model=model,
        os=system,
        network_type=_network(rng, mobile=family.mobile),
        mobile=family.mobile,
        reads_cpu=rng.random() < family.reads_cpu,
        simulcast=rng.random() < 0.5,
        encoding=family.encoding,
    )


def other_network(rng: Random, network_type: str) -> str:
    """Where a phone goes from this network."""
    return rng.choice([name for name in MOBILE_NETWORKS if name != network_type])


def _network(rng: Random, *, mobile: bool) -> str:
    if mobile:
        return rng.choices(MOBILE_NETWORKS, (55, 25, 15, 5))[0]
    return rng.choices(("WiFi", "Wired"), (60, 40))[0]
