"""Who enters a call, when, how often, and how each stay ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.words import EnterReason, ExitReason, Role
from services.simulator.traffic.media import streams_of
from services.simulator.traffic.plan import LIVE_ROOM_LINGERS_MS, SILENCE_MS, Call, Ending, Room, Stay, Trouble
from services.simulator.traffic.profiles import other_network, profile_of
from services.simulator.traffic.seeds import identifier, random_of
from services.simulator.traffic.troubles import troubles_between

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from services.simulator.traffic.scenario import Scenario

SHORTEST_CALL_MS = 45_000
LONGEST_CALL_MS = 480_000
MOST_ANCHORS = {"call": 6, "live": 3}
VISITORS = 50
"""Users who turn up in any room, so that one may be in two at once."""
_NAMES = ("ada", "bela", "chen", "dora", "emil", "fatima", "goran", "hana", "ivo", "jun", "kofi", "lena", "mei", "nils")
_JOIN_COST_MS = (80, 150, 250, 400, 700, 1200, 2500, 5600)


def plan_call(scenario: Scenario, room: Room, number: int, start_ms: int) -> Call:
    """Everything that will happen in one call. Its length is drawn, and cut where the scenario ends."""
    rng = random_of(scenario.seed, "call", room.index, number)
    end_ms = start_ms + rng.randrange(SHORTEST_CALL_MS, LONGEST_CALL_MS)
    last_ms = scenario.end_ms
    if last_ms is not None:
        end_ms = max(min(end_ms, last_ms), start_ms + 1000)
    ending: Ending = rng.choices(("left", "dissolved", "crashed"), (92, 5, 3))[0]
    if not _has_time(end_ms, last_ms):
        ending = "left" if ending == "crashed" else ending
    caster = _Caster(scenario, room, number, start_ms, end_ms, ending)
    count = max(1, round(scenario.users_per_room * rng.uniform(0.6, 1.4)))
    anchors = min(count, MOST_ANCHORS[room.scene] if room.scene == "call" else rng.randint(1, MOST_ANCHORS["live"]))
    # The host closes a live room; now and then, where the scenario has time for it, its audience lingers.
    host_leaves_early = room.scene == "live" and count > anchors and rng.random() < 0.15
    host_leaves_early = host_leaves_early and (last_ms is None or end_ms + LIVE_ROOM_LINGERS_MS < last_ms)
    stays: list[Stay] = []
    for place, user_id in enumerate(_users(scenario, room, rng, count)):
        role = Role.ANCHOR if place < anchors else Role.AUDIENCE
        stays += caster.stays_of(user_id, role, host=place == 0, leaves_early=place < anchors and host_leaves_early)
    stays.sort(key=lambda stay: (stay.join_ms, stay.user_id))
    last = max(stays, key=lambda stay: stay.removed_ms)
    lingers = (
        room.scene == "live"
        and _last_role(last) == Role.AUDIENCE
        and last.exit_reason != ExitReason.TIMED_OUT
        and (last_ms is None or last.removed_ms + LIVE_ROOM_LINGERS_MS < last_ms)
    )
    streams = tuple(stream for stay in stays for stream in streams_of(scenario.seed, room, number, stay))
    senders = {stream.user_id for stream in streams}
    return Call(
        run=scenario.run,
        seed=scenario.seed,
        room=room,
        number=number,
        start_ms=start_ms,
        end_ms=end_ms,
        stays=tuple(stays),
        streams=streams,
        uplink_troubles=_uplink_troubles(stay for stay in stays if stay.user_id in senders),
        closed_ms=last.removed_ms + (LIVE_ROOM_LINGERS_MS if lingers else 20),
        tells_end=rng.random() > 0.03,
    )


def _uplink_troubles(stays: Iterable[Stay]) -> dict[str, tuple[Trouble, ...]]:
    found: dict[str, list[Trouble]] = {}
    for stay in stays:
        found.setdefault(stay.user_id, []).extend(trouble for trouble in stay.troubles if trouble.kind == "uplink")
    return {user_id: tuple(troubles) for user_id, troubles in found.items()}


def _last_role(stay: Stay) -> Role:
    return stay.role_changes[-1][1] if stay.role_changes else stay.role


def _has_time(end_ms: int, last_ms: int | None) -> bool:
    """Whether the media server would find out of a crash before the scenario ends."""
    return last_ms is None or end_ms + SILENCE_MS + 5000 < last_ms


def _users(scenario: Scenario, room: Room, rng: Random, count: int) -> list[str]:
    """Distinct users of one call: mostly the room's own, who come again in its next call."""
    places = rng.sample(range(2 * max(count, scenario.users_per_room)), count)
    users = []
    for place in places:
        name = _NAMES[(room.index * 5 + place) % len(_NAMES)]
        users.append(f"{name}_{room.index}_{place}")
    if count > 2 and rng.random() < 0.3:
        users[-1] = f"visitor_{rng.randrange(VISITORS)}"
    return users


class _Caster:
    def __init__(self, scenario: Scenario, room: Room, number: int, start_ms: int, end_ms: int, ending: Ending) -> None:
        self._scenario = scenario
        self._room = room
        self._number = number
        self._start = start_ms
        self._end = end_ms
        self._ending = ending
        # However many listen, few are on stage: nobody receives hundreds of streams.
        self._guests = min(0.25, 4 / scenario.users_per_room)

    def stays_of(self, user_id: str, role: Role, *, host: bool, leaves_early: bool) -> list[Stay]:
        """All stays of a user in the call, in order; they never overlap."""
        rng = random_of(self._scenario.seed, "user", self._room.index, self._number, user_id)
        length = self._end - self._start
        if host:
            join_ms = self._start
        elif role == Role.ANCHOR:
            join_ms = self._start + rng.randrange(200, max(201, min(15_000, length // 2)))
        else:
            join_ms = self._start + rng.randrange(200, max(201, length * 4 // 10))
        stays: list[Stay] = []
        enter_reason = EnterReason.NORMAL
        while True:
            stay, comes_back_ms = self._stay(rng, user_id, len(stays), role, join_ms, enter_reason, host, leaves_early)
            stays.append(stay)
            if comes_back_ms is None:
                return stays
            join_ms = comes_back_ms
            enter_reason = EnterReason.RETRY_AFTER_TIMEOUT if stay.ending == "crashed" else EnterReason.NORMAL

    def _stay(
        self,
        rng: Random,
        user_id: str,
        number: int,
        role: Role,
        join_ms: int,
        enter_reason: EnterReason,
        host: bool,
        leaves_early: bool,
    ) -> tuple[Stay, int | None]:
        """A stay, and when the user comes again."""
        profile = profile_of(self._scenario.seed, user_id)
        end_ms, ending = self._how_it_ends(rng, role, join_ms, profile.mobile, host, leaves_early)
        removed_ms, exit_reason, comes_back_ms = self._aftermath(rng, end_ms, ending, number)
        length = end_ms - join_ms
        on_stage = self._on_stage(rng, role, join_ms, end_ms)
        switch = None
        if profile.mobile and length > 30_000 and rng.random() < 0.15:
            switch = (join_ms + rng.randrange(10_000, length - 5000), other_network(rng, profile.network_type))
        failed_ms = join_ms - rng.randrange(1500, 6000) if rng.random() < 0.04 else 0
        stay = Stay(
            user_id=user_id,
            number=number,
            session_id=identifier(self._scenario.run, "session", self._room.index, self._number, user_id, number),
            profile=profile,
            role=role,
            role_changes=on_stage,
            join_ms=join_ms,
            join_cost_ms=rng.choice(_JOIN_COST_MS) + rng.randrange(80),
            enter_reason=enter_reason,
            end_ms=end_ms,
            ending=ending,
            removed_ms=removed_ms,
            exit_reason=exit_reason,
            wants_small=rng.random() < (0.5 if profile.network_type in ("3G", "4G") else 0.15),
            wants_video=role == Role.ANCHOR or rng.random() < 0.9,
            troubles=troubles_between(rng, join_ms, end_ms),
            network_switch=switch,
            failed_entry_ms=failed_ms if failed_ms > self._start else None,
            tail_ms=comes_back_ms + 900 if comes_back_ms and ending == "crashed" and rng.random() < 0.6 else None,
        )
        return stay, comes_back_ms

    def _how_it_ends(
        self, rng: Random, role: Role, join_ms: int, mobile: bool, host: bool, leaves_early: bool
    ) -> tuple[int, Ending]:
        end_ms = self._end
        room_left = end_ms - join_ms
        early = rng.random() < (0.15 if role == Role.ANCHOR else 0.6) or leaves_early
        if room_left < 20_000 or (not early or (host and not leaves_early)):
            if self._ending == "left" and not host:
                end_ms -= min(rng.randrange(50, 4000), room_left // 2)
            return end_ms, self._ending
        end_ms = join_ms + rng.randrange(10_000, room_left - 5000)
        ending: Ending = rng.choices(("left", "crashed", "killed", "removed"), (78, 14, 4, 4))[0]
        if ending == "crashed" and not _has_time(end_ms, self._scenario.end_ms):
            ending = "left"
        if ending == "killed" and not mobile:
            ending = "left"
        return end_ms, ending

    def _aftermath(self, rng: Random, end_ms: int, ending: Ending, number: int) -> tuple[int, ExitReason, int | None]:
        """When and why the media server counts the user out, and when the user comes again."""
        comes_back_ms: int | None = None
        again = number < 2 and ending != "removed" and rng.random() < (0.7 if ending == "crashed" else 0.25)
        pause = rng.randrange(4000, 140_000) if ending == "crashed" else rng.randrange(3000, 40_000)
        if again and end_ms + pause < self._end - 15_000:
            comes_back_ms = end_ms + pause
        match ending:
            case "crashed":
                timeout_ms = end_ms + SILENCE_MS
                if comes_back_ms is not None and comes_back_ms <= timeout_ms:
                    # The user's own return ends the stay that nobody had counted out yet.
                    return comes_back_ms - 1, ExitReason.REMOVED, comes_back_ms
                return timeout_ms, ExitReason.TIMED_OUT, comes_back_ms
            case "killed":
                return end_ms, ExitReason.PROCESS_KILLED, comes_back_ms
            case "removed" | "dissolved":
                return end_ms, ExitReason.REMOVED, comes_back_ms
            case _:
                return end_ms, ExitReason.NORMAL, comes_back_ms

    def _on_stage(self, rng: Random, role: Role, join_ms: int, end_ms: int) -> tuple[tuple[int, Role], ...]:
        """In a live room some of the audience become anchors for a while, or to the end."""
        length = end_ms - join_ms
        if role == Role.ANCHOR or self._room.scene == "call" or length < 30_000 or rng.random() > self._guests:
            return ()
        up_ms = join_ms + rng.randrange(5000, length // 2)
        if rng.random() < 0.3:
            return ((up_ms, Role.ANCHOR),)
        return ((up_ms, Role.ANCHOR), (up_ms + rng.randrange(5000, end_ms - up_ms - 1000), Role.AUDIENCE))
