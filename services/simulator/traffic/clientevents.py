"""What happens inside a user's SDK: the numbered client events of one stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.reports import ClientEvent
from schemas.words import UserType
from services.simulator.traffic.profiles import NETWORK_CODES

if TYPE_CHECKING:
    from services.simulator.traffic.hearing import Hearing
    from services.simulator.traffic.plan import Call, Stay

PICTURE_TYPES = {"audio": 0, "big": 2, "small": 3, "sub": 7}


def client_events(call: Call, stay: Stay, hearing: Hearing) -> list[ClientEvent]:
    """All client events of a stay, in order of time."""
    browser = stay.profile.user_type == UserType.WEBRTC
    events = _browser_events(call, stay, hearing) if browser else _native_events(call, stay)
    events = [event for event in events if stay.join_ms - stay.join_cost_ms <= event.at_ms <= stay.end_ms]
    events.sort(key=lambda event: event.at_ms)
    return events


def _browser_events(call: Call, stay: Stay, hearing: Hearing) -> list[ClientEvent]:
    events = [
        ClientEvent(at_ms=stay.join_ms - stay.join_cost_ms // 2, event_id=32791),
        ClientEvent(at_ms=stay.join_ms, event_id=32788),
        ClientEvent(at_ms=stay.join_ms + 40, event_id=32793),
    ]
    for stream in call.streams:
        if stream.user_id == stay.user_id and stream.type in ("audio", "big"):
            sound = stream.type == "audio"
            events.append(ClientEvent(at_ms=stream.start_ms, event_id=32769 if sound else 32768))
            if stream.stopped:
                events.append(ClientEvent(at_ms=stream.end_ms, event_id=32771 if sound else 32770))
    heard = {(part.peer, part.type == "audio"): part.start_ms for part in reversed(hearing.received)}
    for (peer, sound), at_ms in heard.items():
        events.append(ClientEvent(at_ms=at_ms, event_id=32777 if sound else 32776, peer_id=peer))
    if stay.says_goodbye:
        events.append(ClientEvent(at_ms=stay.end_ms, event_id=32789))
    return events


def _native_events(call: Call, stay: Stay) -> list[ClientEvent]:
    asked_ms = stay.join_ms - stay.join_cost_ms
    events = [
        ClientEvent(at_ms=asked_ms, event_id=5001),
        ClientEvent(at_ms=asked_ms + stay.join_cost_ms // 3, event_id=5002, param_one=1),
        ClientEvent(at_ms=stay.join_ms, event_id=5003, param_one=1),
        ClientEvent(at_ms=stay.join_ms, event_id=7000, param_one=1 if stay.number else 0),
    ]
    for stream in call.streams:
        if stream.user_id != stay.user_id:
            continue
        picture = PICTURE_TYPES[stream.type]
        if stream.type == "audio":
            events.append(ClientEvent(at_ms=stream.start_ms, event_id=3001, param_one=0))
            events.append(ClientEvent(at_ms=stream.start_ms + 60, event_id=5009))
            events += (
                ClientEvent(at_ms=piece.start_ms, event_id=3001, param_one=1 if piece.muted else 3)
                for piece in stream.pieces[1:]
            )
            if stream.stopped:
                events.append(ClientEvent(at_ms=stream.end_ms, event_id=3001, param_one=2))
            continue
        if stream.type == "big":
            events.append(ClientEvent(at_ms=stream.start_ms, event_id=4001, param_one=0))
            events.append(ClientEvent(at_ms=stream.start_ms, event_id=4006, param_one=0, type=picture))
            if stream.stopped:
                events.append(ClientEvent(at_ms=stream.end_ms, event_id=4006, param_one=1, type=picture))
        events.append(ClientEvent(at_ms=stream.start_ms + 90, event_id=5007, type=picture))
        events += (
            ClientEvent(
                at_ms=piece.start_ms, event_id=4003, param_one=piece.width, param_two=piece.height, type=picture
            )
            for piece in stream.pieces
        )
    if stay.network_switch is not None:
        at_ms, network = stay.network_switch
        events.append(ClientEvent(at_ms=at_ms, event_id=1003, param_one=NETWORK_CODES.get(network, 2)))
    if stay.says_goodbye:
        kicked = stay.ending != "left"
        events.append(ClientEvent(at_ms=stay.end_ms, event_id=5008, param_one=1))
        events.append(ClientEvent(at_ms=stay.end_ms, event_id=7001, param_one=2 if kicked else 0))
    return events
