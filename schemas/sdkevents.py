"""What the numbers of client events mean: those of the native SDKs and those of browsers.

An event is kept as the client told it, whether its number is here or not; this table only names it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

UNUSED = -1
"""A parameter that says nothing."""

Values = dict[int, str]
Parameter = Values | str | None
"""What a parameter is: its values by number, a quantity, or None where the event has no such parameter."""


class SdkEvent(NamedTuple):
    """One kind of client event."""

    name: str
    param_one: Parameter = None
    param_two: Parameter = None


_FAILED_DONE: Values = {0: "failed", 1: "done"}
_CAMERA: Values = {0: "front", 1: "rear"}
_CODEC: Values = {0: "software", 1: "hardware"}

SDK_EVENTS: Mapping[int, SdkEvent] = MappingProxyType(
    {
        1001: SdkEvent("wired headset", {0: "unplugged", 1: "plugged in"}),
        1002: SdkEvent("Bluetooth headset", {0: "disconnected", 1: "connected"}),
        1003: SdkEvent("network", {0: "none", 1: "Wi-Fi", 2: "4G", 3: "3G", 4: "2G", 5: "cable"}),
        2001: SdkEvent("application", {0: "in the foreground", 1: "in the background"}),
        2002: SdkEvent(
            "permission missing",
            {1: "network", 2: "reading files", 3: "writing files", 4: "microphone", 5: "camera"},
        ),
        2003: SdkEvent(
            "capture interrupted",
            {
                0: "goes on again",
                1: "video: application in the background",
                2: "sound: taken by another application",
                3: "video: taken by another application",
                4: "video: several applications in the foreground",
                5: "video: device too slow",
            },
        ),
        3001: SdkEvent("microphone", {0: "capturing", 1: "muted", 2: "closed", 3: "unmuted"}),
        3002: SdkEvent("playback", {0: "unmuted", 1: "muted"}),
        3003: SdkEvent("audio codec", {10: "AAC", 11: "Opus"}),
        3004: SdkEvent("sound comes from", {0: "loudspeaker", 1: "earpiece"}),
        4001: SdkEvent("camera opened", _CAMERA),
        4002: SdkEvent("camera failed to open", _CAMERA),
        4003: SdkEvent("resolution changed", "width", "height"),
        4004: SdkEvent("encoder", _CODEC),
        4005: SdkEvent("decoder", _CODEC),
        4006: SdkEvent("own video sent", {0: "on", 1: "off", 2: "camera on", 3: "camera off"}),
        4007: SdkEvent("resolution set by the user", "width", "height"),
        4008: SdkEvent("frame rate set by the user", "frames a second"),
        4009: SdkEvent("bitrate set by the user", "bitrate"),
        4010: SdkEvent("RPS", {1: "switched off"}),
        4011: SdkEvent("hardware decoder failed"),
        4012: SdkEvent("decoder switched to software"),
        4013: SdkEvent("frames failed to decode within 3 s", "frames", _CODEC),
        4014: SdkEvent("remote picture", {0: "on", 1: "off"}),
        4015: SdkEvent("remote main picture", {0: "unsubscribed", 1: "subscribed"}),
        5001: SdkEvent("began to enter"),
        5002: SdkEvent("address looked up", _FAILED_DONE),
        5003: SdkEvent("entering", _FAILED_DONE),
        5004: SdkEvent("began to send video"),
        5005: SdkEvent("connection to the server timed out"),
        5006: SdkEvent("first video packet sent"),
        5007: SdkEvent("first video frame sent"),
        5008: SdkEvent("leaving", _FAILED_DONE),
        5009: SdkEvent("first audio frame sent"),
        6001: SdkEvent(
            "quality control",
            {
                1: "smooth first, by the client",
                2: "sharp first, by the client",
                101: "smooth first, by the cloud",
                102: "sharp first, by the cloud",
            },
            {0: "video call", 1: "live video", 2: "audio call", 3: "voice room"},
        ),
        7000: SdkEvent("entered", {0: "for the first time", 1: "again"}),
        7001: SdkEvent("left", {0: "by choice", 1: "timed out", 2: "removed"}),
    }
)
"""Events of the native SDKs by number."""

WEBRTC_EVENTS: Mapping[int, SdkEvent] = MappingProxyType(
    {
        32768: SdkEvent("video opened"),
        32769: SdkEvent("audio opened"),
        32770: SdkEvent("video disabled"),
        32771: SdkEvent("audio disabled"),
        32772: SdkEvent("audio off, silence sent instead"),
        32773: SdkEvent("video off, black sent instead"),
        32774: SdkEvent("audio on again"),
        32775: SdkEvent("video on again"),
        32776: SdkEvent("video subscribed"),
        32777: SdkEvent("audio subscribed"),
        32778: SdkEvent("video unsubscribed"),
        32779: SdkEvent("audio unsubscribed"),
        32780: SdkEvent("camera switched"),
        32781: SdkEvent("microphone switched"),
        32782: SdkEvent("video track replaced"),
        32783: SdkEvent("audio track replaced"),
        32784: SdkEvent("remote video disabled"),
        32785: SdkEvent("remote audio disabled"),
        32786: SdkEvent("remote video opened"),
        32787: SdkEvent("remote audio opened"),
        32788: SdkEvent("entered"),
        32789: SdkEvent("left"),
        32790: SdkEvent("signalling lost"),
        32791: SdkEvent("signalling connected"),
        32792: SdkEvent("media channel lost"),
        32793: SdkEvent("media channel connected"),
        36864: SdkEvent("signalling lost, as the server saw it"),
    }
)
"""Events of browsers by number; they have no parameters."""

ABNORMAL_EXPERIENCES: Mapping[int, str] = MappingProxyType(
    {1: "slow entry", 2: "no video", 3: "no audio", 4: "video lag", 5: "audio lag"}
)
"""What users suffer, by number."""

ABNORMAL_EVENTS: Mapping[int, str] = MappingProxyType(
    {
        1001: "audio device did not start",
        1002: "video device did not start",
        1003: "token request failed",
        1004: "access server request failed",
        1005: "entering failed",
        1006: "entering failed for good",
        1007: "address differs between signalling and media",
        1008: "parameters of the entry were empty",
        1009: "application number invalid",
        1010: "room invalid",
        1011: "user invalid",
        1012: "UserSig invalid",
        1013: "entering timed out",
        1014: "service suspended",
        1015: "camera did not open",
        1016: "camera not permitted",
        1017: "camera parameters invalid",
        1018: "camera in use",
        1019: "microphone did not open",
        1020: "microphone not permitted",
        1021: "microphone parameters invalid",
        1022: "microphone in use",
        1023: "loudspeaker did not open",
        1024: "screen sharing did not start",
        1025: "screen sharing not supported by the system",
        1026: "no right to share a screen",
        1027: "somebody else shares a screen",
        1028: "screen sharing stopped by the system",
        1029: "video encoder failed",
        1030: "resolution not supported",
        1031: "audio encoder failed",
        1032: "sample rate not supported",
        2001: "CPU of the system high",
        2002: "CPU of the application high",
        2003: "upstream latency",
        2004: "upstream jitter",
        2005: "upstream audio loss",
        2006: "capture volume 0",
        2007: "upstream loss, main picture",
        2008: "upstream loss, small picture",
        2009: "upstream loss, screen",
        2010: "captured frame rate, main picture",
        2011: "captured frame rate, small picture",
        2012: "captured frame rate, screen",
        2013: "downstream latency",
        2014: "downstream jitter",
        2015: "downstream audio loss",
        2016: "playback volume 0",
        2017: "downstream loss, main picture",
        2018: "downstream loss, small picture",
        2019: "downstream loss, screen",
        2020: "rendered frame rate, main picture",
        2021: "rendered frame rate, small picture",
        2022: "rendered frame rate, screen",
        2023: "audio lag",
        2024: "video lag, main picture",
        2025: "video lag, small picture",
        2026: "video lag, screen",
    }
)
"""What goes on around it, by number: up to 1032 told by clients, from 2001 on found in what they measured."""


def describe(event_id: int, param_one: int = UNUSED, param_two: int = UNUSED) -> str:
    """An event in words, like `network: Wi-Fi`; one that nobody knows is its number and its parameters."""
    event = SDK_EVENTS.get(event_id) or WEBRTC_EVENTS.get(event_id) or SdkEvent(str(event_id), "", "")
    told = [
        _told(parameter, value)
        for parameter, value in ((event.param_one, param_one), (event.param_two, param_two))
        if parameter is not None and value != UNUSED
    ]
    return f"{event.name}: {', '.join(told)}" if told else event.name


def _told(parameter: Values | str, value: int) -> str:
    if isinstance(parameter, str):
        return f"{parameter} {value}".strip()
    return parameter.get(value, str(value))
