"""The shares of duplicates, reordering and late reports."""

from __future__ import annotations

from collections import Counter

import msgspec

from services.simulator.traffic.items import ClientReport, Events, Item
from tests.unit.simulator.scenarios import events_of, scenario, sent

ROOMS = 12


def reports_sent(items: list[tuple[int, Item]]) -> Counter[tuple[str, int]]:
    return Counter(
        (item.content.report.session_id, item.content.report.seq)
        for _, item in items
        if isinstance(item.content, ClientReport)
    )


def test_without_disorder_all_is_sent_once_and_in_order() -> None:
    items = sent(scenario())
    assert set(reports_sent(items).values()) == {1}
    assert all(send_ms == item.made_ms for send_ms, item in items)
    by_room: dict[object, list[int]] = {}
    for _, item in items:
        if isinstance(item.content, Events):
            times = [event["EventInfo"]["EventMsTs"] for event in item.content.events]
            by_room.setdefault(item.lane, []).extend(times)
    assert len(by_room) == ROOMS
    for times in by_room.values():
        assert times == sorted(times)


def test_sending_is_in_order_of_its_time() -> None:
    times = [send_ms for send_ms, _ in sent(scenario(late=0.2, duplicates=0.1, reorder=0.1))]
    assert times == sorted(times)


def test_a_share_of_reports_and_events_is_sent_twice() -> None:
    of = scenario(duplicates=0.25)
    reports = reports_sent(sent(of))
    assert set(reports.values()) == {1, 2}
    twice = sum(count == 2 for count in reports.values()) / len(reports)
    assert 0.2 < twice < 0.3
    events = Counter(msgspec.json.encode(event) for event in events_of(of))
    assert 0.2 < sum(count == 2 for count in events.values()) / len(events) < 0.3
    copies = sum(item.content.copies for _, item in sent(of) if isinstance(item.content, Events))
    assert copies == sum(count == 2 for count in events.values())


def test_a_share_of_reports_is_held_back() -> None:
    late_max_ms = 120_000
    items = [(send_ms, item) for send_ms, item in sent(scenario(late=0.2, late_max_ms=late_max_ms)) if item.samples]
    delays = [send_ms - item.made_ms for send_ms, item in items]
    assert max(delays) <= late_max_ms
    assert max(delays) > late_max_ms / 2
    assert 0.15 < sum(delay > 0 for delay in delays) / len(delays) < 0.25


def test_a_share_of_events_is_overtaken() -> None:
    overtaken = total = 0
    newest: dict[object, int] = {}
    for _, item in sent(scenario(reorder=0.3)):
        if not isinstance(item.content, Events):
            continue
        for event in item.content.events:
            at_ms = event["EventInfo"]["EventMsTs"]
            total += 1
            overtaken += at_ms < newest.get(item.lane, 0)
            newest[item.lane] = max(at_ms, newest.get(item.lane, 0))
    assert overtaken > total / 20
