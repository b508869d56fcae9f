"""The numbers of client events, written down once more from the published table."""

from __future__ import annotations

import pytest

from schemas.sdkevents import ABNORMAL_EVENTS, ABNORMAL_EXPERIENCES, SDK_EVENTS, WEBRTC_EVENTS, describe

# Number: (values or kind of the first parameter, those of the second).
SDK: dict[int, tuple[object, object]] = {
    1001: ({0, 1}, None),
    1002: ({0, 1}, None),
    1003: ({0, 1, 2, 3, 4, 5}, None),
    2001: ({0, 1}, None),
    2002: ({1, 2, 3, 4, 5}, None),
    2003: ({0, 1, 2, 3, 4, 5}, None),
    3001: ({0, 1, 2, 3}, None),
    3002: ({0, 1}, None),
    3003: ({10, 11}, None),
    3004: ({0, 1}, None),
    4001: ({0, 1}, None),
    4002: ({0, 1}, None),
    4003: ("width", "height"),
    4004: ({0, 1}, None),
    4005: ({0, 1}, None),
    4006: ({0, 1, 2, 3}, None),
    4007: ("width", "height"),
    4008: ("frames a second", None),
    4009: ("bitrate", None),
    4010: ({1}, None),
    4011: (None, None),
    4012: (None, None),
    4013: ("frames", {0, 1}),
    4014: ({0, 1}, None),
    4015: ({0, 1}, None),
    5001: (None, None),
    5002: ({0, 1}, None),
    5003: ({0, 1}, None),
    5004: (None, None),
    5005: (None, None),
    5006: (None, None),
    5007: (None, None),
    5008: ({0, 1}, None),
    5009: (None, None),
    6001: ({1, 2, 101, 102}, {0, 1, 2, 3}),
    7000: ({0, 1}, None),
    7001: ({0, 1, 2}, None),
}
WEBRTC = [*range(32768, 32794), 36864]
SAID = [
    ((1001, 0), "wired headset: unplugged"),
    ((1001, 1), "wired headset: plugged in"),
    ((1003, 1), "network: Wi-Fi"),
    ((2001, 1), "application: in the background"),
    ((2003, 2), "capture interrupted: sound: taken by another application"),
    ((3001, 1), "microphone: muted"),
    ((3002, 1), "playback: muted"),
    ((4003, 1280, 720), "resolution changed: width 1280, height 720"),
    ((4006, 0), "own video sent: on"),
    ((4013, 7, 1), "frames failed to decode within 3 s: frames 7, hardware"),
    ((4014, 0), "remote picture: on"),
    ((4015, 0), "remote main picture: unsubscribed"),
    ((5001,), "began to enter"),
    ((5003, 0), "entering: failed"),
    ((6001, 102, 1), "quality control: sharp first, by the cloud, live video"),
    ((7001, 2), "left: removed"),
    ((32784,), "remote video disabled"),
    ((36864,), "signalling lost, as the server saw it"),
    # A number that nobody knows, of an event or of a parameter, stays what it is.
    ((1003, 6), "network: 6"),
    ((40000, 3, -1), "40000: 3"),
    ((40000,), "40000"),
    # Browsers tell no parameters; should they, these mean nothing.
    ((32788, 5, 5), "entered"),
]


def test_exactly_the_numbers_of_the_table() -> None:
    assert list(SDK_EVENTS) == list(SDK)
    assert list(WEBRTC_EVENTS) == WEBRTC
    assert list(ABNORMAL_EXPERIENCES) == [1, 2, 3, 4, 5]
    assert list(ABNORMAL_EVENTS) == [*range(1001, 1033), *range(2001, 2027)]


@pytest.mark.parametrize("number", SDK)
def test_sdk_event(number: int) -> None:
    event = SDK_EVENTS[number]
    parameters = [
        set(parameter) if isinstance(parameter, dict) else parameter for parameter in (event.param_one, event.param_two)
    ]
    assert (parameters[0], parameters[1]) == SDK[number]


@pytest.mark.parametrize("names", [SDK_EVENTS, WEBRTC_EVENTS, ABNORMAL_EVENTS, ABNORMAL_EXPERIENCES])
def test_no_two_are_called_the_same(names: dict[int, object]) -> None:
    assert len({str(name) for name in names.values()}) == len(names)


@pytest.mark.parametrize("number", WEBRTC)
def test_webrtc_event_has_no_parameters(number: int) -> None:
    event = WEBRTC_EVENTS[number]
    assert event.param_one is None
    assert event.param_two is None


@pytest.mark.parametrize(("told", "words"), SAID, ids=[str(told) for told, _ in SAID])
def test_in_words(told: tuple[int, ...], words: str) -> None:
    assert describe(*told) == words
