"""`roompulse app …`, `roompulse callbacks …` and `roompulse usersig …`, as programs use them."""

from __future__ import annotations

import asyncio
import calendar
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from click.testing import CliRunner, Result
from TLSSigAPIv2 import TLSSigAPIv2

from schemas.applications import ApplicationRecord
from schemas.deliveries import delivery_id
from schemas.retries import DeadLetter, RetryRecord
from schemas.topics import APPLICATIONS, DEAD_LETTERS
from services.cli import main
from services.console import publisher
from services.console.publisher import Publisher, publish_newest
from services.console.store import ApplicationStore
from services.runtime import usersig
from services.runtime.applications import ApplicationTable
from services.runtime.settings import Settings
from services.runtime.topics import ensure_topics
from tests.integration.dispatching import room_event
from tests.support.clickhouse import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from schemas.applications import Application
    from tests.support.kafka import KafkaBroker

WAIT_S = 60.0
DOCS = Path(__file__).parents[2] / "docs"


class Cli:
    """The commands on one data folder: in this process, where nobody listens on Kafka's port, or as processes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.environment = {
            "ROOMPULSE_DATA": str(settings.data),
            "ROOMPULSE_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        }

    def run(self, *arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(main, arguments, env=self.environment | environment)

    def document(self, *arguments: str) -> Any:
        """The JSON document of a command that works."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def launch(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "services", *arguments],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(Settings(data=tmp_path, kafka_bootstrap=f"127.0.0.1:{free_port()}"))


@pytest.fixture
def one(cli: Cli) -> Any:
    """An application, as `app create` tells of it."""
    return cli.document("app", "create", "--name", "one")


@pytest.fixture
def store(cli: Cli) -> Iterator[ApplicationStore]:
    store = ApplicationStore(cli.settings)
    yield store
    store.close()


KEYS = ("CallbackKey", "NextCallbackKey", "WebhookSecret", "NextWebhookSecret")


def seconds_of(text: str) -> int:
    """Unix seconds of a time in UTC."""
    return calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S"))


def test_create_show_list_and_set_callback_speak_the_vendors_names(cli: Cli, one: Any) -> None:
    created = one.pop("CreateTime")
    assert abs(time.time() - seconds_of(created)) < 60
    key = one["SDKSecretKey"]
    assert len(key) == 64
    assert one == {
        "SdkAppId": 1400000001,
        "Name": "one",
        "Status": "enabled",
        "SDKSecretKey": key,
        "CallbackKey": "",
        "NextCallbackKey": "",
        "WebhookSecret": "",
        "NextWebhookSecret": "",
        "RoomCallbackUrl": "",
        "MediaCallbackUrl": "",
        "RecordingCallbackUrl": "",
        "RelayCallbackUrl": "",
        "GroupCallbackUrls": {},
        "CallbackSchedule": "vendor",
        "CallbackRate": 0,
        "CallbackOrdered": False,
        "MonitoringEdition": "premium",
        "UtcOffsetMinutes": 0,
    }
    base = "http://127.0.0.1:9000"
    options = ["--key", "Key0", "--room-url", f"{base}/r", "--media-url", f"{base}/m", "--recording-url", f"{base}/c"]
    options += ["--relay-url", f"{base}/l?a=b&c=d", "--group-url", f"7={base}/7?x=1", "--group-url", f"9={base}/9"]
    changed = {
        **one,
        "CreateTime": created,
        "CallbackKey": "Key0",
        "RoomCallbackUrl": f"{base}/r",
        "MediaCallbackUrl": f"{base}/m",
        "RecordingCallbackUrl": f"{base}/c",
        "RelayCallbackUrl": f"{base}/l?a=b&c=d",
        "GroupCallbackUrls": {"7": f"{base}/7?x=1", "9": f"{base}/9"},
    }
    masked = {**changed, "SDKSecretKey": "*****", "CallbackKey": "*****"}
    assert cli.document("app", "set-callback", "1400000001", *options) == masked
    assert cli.document("app", "show", "1400000001") == changed
    assert cli.document("app", "list") == {"Applications": [masked]}
    durable = cli.document("app", "set-callback", "1400000001", "--schedule", "durable")
    assert durable == {**masked, "CallbackSchedule": "durable"}
    limited = cli.document("app", "set-callback", "1400000001", "--rate", "2.5")
    assert limited == {**durable, "CallbackRate": 2.5}
    assert cli.document("app", "set-callback", "1400000001", "--ordered") == {**limited, "CallbackOrdered": True}
    assert cli.document("app", "set-callback", "1400000001", "--not-ordered") == limited
    removed = cli.document("app", "set-callback", "1400000001", "--key", "", "--room-url", "", "--group-url", "7=")
    assert (removed["CallbackKey"], removed["RoomCallbackUrl"]) == ("", "")
    assert removed["MediaCallbackUrl"] == f"{base}/m"
    assert removed["GroupCallbackUrls"] == {"9": f"{base}/9"}
    assert removed["CallbackSchedule"] == "durable"


def test_keys_and_secrets_are_rotated(cli: Cli, one: Any) -> None:
    assert one["Name"] == "one"
    cli.document("app", "set-callback", "1400000001", "--key", "Key0", "--webhook-secret", "new")
    first = cli.document("app", "show", "1400000001")
    assert first["WebhookSecret"].startswith("whsec_")
    masked = cli.document("app", "set-next", "1400000001", "--key", "Key1", "--webhook-secret", "new")
    assert {masked[name] for name in KEYS} == {"*****"}
    both = cli.document("app", "show", "1400000001")
    assert [both[name] for name in KEYS[:3]] == ["Key0", "Key1", first["WebhookSecret"]]
    assert both["NextWebhookSecret"] not in ("", first["WebhookSecret"])
    cli.document("app", "promote", "1400000001")
    after = cli.document("app", "show", "1400000001")
    assert [after[name] for name in KEYS] == ["Key1", "", both["NextWebhookSecret"], ""]


def test_for_people_it_is_a_line_a_field(cli: Cli, one: Any) -> None:
    shown = cli.run("app", "show", "1400000001").stdout.splitlines()
    assert "Name:                 one" in shown
    assert f"SDKSecretKey:         {one['SDKSecretKey']}" in shown
    assert "RoomCallbackUrl:      --" in shown
    assert cli.run("app", "list").stdout == "1400000001  enabled   one\n"


def documented(page: str) -> list[list[str]]:
    """The commands of a page, in order."""
    text = (DOCS / page).read_text("utf-8").replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in re.findall(r"^    (roompulse (?:app|callbacks) .*)$", text, re.MULTILINE)]


def test_commands_of_the_documentation_are_understood(cli: Cli, one: Any) -> None:
    cli.document("app", "set-callback", "1400000001", "--key", "Key0123456789abc")
    for arguments in [*documented("callbacks.md"), *documented("callback-bodies.md")]:
        result = cli.run(*arguments, ROOMPULSE_CLICKHOUSE_URL=f"http://127.0.0.1:{free_port()}")
        if arguments[0] == "app":
            assert result.exit_code == 0, (arguments, result.stderr)
        else:
            # They need what is not here.
            assert result.exit_code == 1, (arguments, result.stderr)
            assert "Unable to bootstrap" in result.stderr or "out of reach" in result.stderr
    assert len(documented("callbacks.md")) >= 10


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["app", "create", "--name", "two words"], 1, "letters, digits and underscores"),
        (["app", "create", "--name", "x" * 16], 1, "15 characters"),
        (["app", "create", "--name", "\udcff"], 1, "letters, digits and underscores"),
        (["app", "create"], 2, "--name"),
        (["app", "show", "1400000099"], 1, "there is no application 1400000099"),
        (["app", "show", "9" * 40], 1, "there is no application"),
        (["app", "show", "one"], 2, "not a valid integer"),
        (["app", "set-callback", "1400000099", "--key", "a1"], 1, "there is no application 1400000099"),
        (["app", "set-callback", "1400000001"], 2, "nothing to set"),
        (["app", "set-callback", "1400000001", "--key", "a-1"], 1, "callback key"),
        (["app", "set-callback", "1400000001", "--webhook-secret", "new "], 1, "webhook secret"),
        (["app", "set-next", "1400000001", "--key", "a1"], 1, "no callback key yet"),
        (["app", "set-next", "1400000001", "--webhook-secret", "new"], 1, "no webhook secret yet"),
        (["app", "set-next", "1400000001"], 2, "nothing to set"),
        (["app", "promote", "1400000001"], 1, "no next key"),
        (["app", "set-monitoring", "1400000001"], 2, "nothing to set"),
        (["app", "set-monitoring", "1400000001", "--utc-offset", "481"], 1, "multiple of 15"),
        (["app", "set-monitoring", "1400000001", "--edition", "gold"], 2, "gold"),
        (["callbacks", "replay", "1400000001"], 2, "say which"),
        (["callbacks", "dead", "1400000001", "--since", "yesterday"], 2, "does not match"),
        (["callbacks", "list", "one"], 2, "not a valid integer"),
        (["callbacks", "list", "0"], 2, "not in the range"),
        (["callbacks", "list", "1400000001", "--event", "3"], 2, "not in the range"),
        (["callbacks", "list", "1400000001", "--outcome", "lost"], 2, "is not one of"),
        (["callbacks", "list", "1400000001", "--limit", "0"], 2, "not in the range"),
        (["callbacks", "show", "1400000001"], 2, "'ID'"),
        (["callbacks", "test", "1400000001", "--group", "0"], 2, "not in the range"),
        (["app", "set-callback", "1400000001", "--room-url", "ftp://a.example/"], 1, "http:// or https://"),
        (["app", "set-callback", "1400000001", "--room-url", "http://h/\nX: y"], 1, "http:// or https://"),
        (["app", "set-callback", "1400000001", "--room-url", "http://u:p@h/"], 1, "no user name or password"),
        (["app", "set-callback", "1400000001", "--group-url", "7"], 2, "GROUP=URL"),
        (["app", "set-callback", "1400000001", "--group-url", "²=http://h/"], 2, "GROUP=URL"),
        (["app", "set-callback", "1400000001", "--group-url", f"{'9' * 5000}=http://h/"], 2, "GROUP=URL"),
        (["app", "set-callback", "1400000001", "--group-url", "08=http://h/"], 2, "--recording-url"),
        (["usersig", "generate", "1400000001", "two words"], 1, "user id"),
        (["usersig", "generate", "1400000001", "a" * 33], 1, "user id"),
        (["usersig", "generate", "1400000001", "alice", "--expire", "0"], 2, "--expire"),
        (["usersig", "generate", "1400000099", "alice"], 1, "there is no application 1400000099"),
        (["usersig", "verify", "1400000099", "alice", "x"], 1, "there is no application 1400000099"),
    ],
)
@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_what_is_wrong_is_one_line_and_nothing_on_standard_output(
    cli: Cli, one: Any, arguments: list[str], status: int, says: str, as_json: bool
) -> None:
    result = cli.run(*arguments, *(["--json"] if as_json else []))
    assert result.exit_code == status
    assert result.stdout == ""
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert says in line
    assert status == 2 or result.stderr == f"{line}\n"
    assert isinstance(result.exception, SystemExit)
    assert cli.document("app", "show", "1400000001") == one


def test_settings_and_data_folders_that_are_wrong_are_one_line(cli: Cli, one: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "control.sqlite").write_text("no database " * 100)
    for environment, says in [
        ({"ROOMPULSE_CONSOLE_PORT": "abc"}, "ROOMPULSE_CONSOLE_PORT"),
        ({"ROOMPULSE_SECRET_KEY": "abc"}, "ROOMPULSE_SECRET_KEY"),
        ({"ROOMPULSE_SECRET_KEY": "a2V5" * 10 + "a2U="}, "ROOMPULSE_SECRET_KEY"),
        ({"ROOMPULSE_DATA": str(tmp_path / "file" / "data")}, "file"),
        ({"ROOMPULSE_DATA": str(tmp_path / "broken")}, "control-plane database"),
        ({"ROOMPULSE_DATABASE_URL": "nonsense"}, "control-plane database"),
    ]:
        result = cli.run("app", "list", "--json", **environment)
        assert (result.exit_code, result.stdout) == (1, ""), environment
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        assert says in result.stderr


def test_the_strict_switch_admits_only_the_vendors_characters(cli: Cli, one: Any) -> None:
    for url, status in [("http://h:9000/", 1), ("http://h/?a=b&c=d", 1), ("https://h/cb.php?a=b%20c#d+e", 0)]:
        command = ["app", "set-callback", "1400000001", "--room-url", url]
        assert cli.run(*command, ROOMPULSE_STRICT_CALLBACK_URLS="1").exit_code == status
        assert cli.run(*command).exit_code == 0


def test_usersigs_are_made_and_verified(cli: Cli, one: Any) -> None:
    made = cli.document("usersig", "generate", "1400000001", "alice", "--expire", "90061")
    assert {name: made[name] for name in ("SdkAppId", "UserId", "Expire")} == {
        "SdkAppId": 1400000001,
        "UserId": "alice",
        "Expire": 90061,
    }
    verified = cli.document("usersig", "verify", "1400000001", "alice", made["UserSig"])
    assert verified["Result"] == "ok"
    assert verified["Identifier"] == "alice"
    assert verified["Validity"] == "1day 1hr 1min 1sec"
    assert seconds_of(verified["ExpirationTime"]) - seconds_of(verified["CreationTime"]) == 90061

    plain = cli.run("usersig", "generate", "1400000001", "alice").stdout
    assert cli.run("usersig", "verify", "1400000001", "alice", plain.strip()).exit_code == 0
    vendors = TLSSigAPIv2(1400000001, one["SDKSecretKey"]).gen_sig("alice", 10**14)  # type: ignore[no-untyped-call]
    assert cli.document("usersig", "verify", "1400000001", "alice", vendors)["ExpirationTime"].isdigit()


def test_usersigs_that_are_wrong_are_named_and_fail(cli: Cli, one: Any) -> None:
    key = one["SDKSecretKey"]
    right = usersig.generate(1400000001, key, "alice", now=int(time.time()))
    for user_id, user_sig, code in [
        ("bob", right, "identifier not match"),
        ("\udcff", right, "identifier not match"),
        ("alice", "!", "base64 error"),
        ("alice", "\udcff", "base64 error"),
        ("alice", "AAAA", "zlib error"),
        ("alice", usersig.generate(1400000002, key, "alice", now=int(time.time())), "sdk appid not match"),
        ("alice", usersig.generate(1400000001, key, "alice", now=1_700_000_000, expire=10), "expired"),
        ("alice", usersig.generate(1400000001, key[::-1], "alice", now=int(time.time())), "sig not match"),
    ]:
        result = cli.run("usersig", "verify", "1400000001", user_id, user_sig, "--json")
        assert result.exit_code == 1
        document = json.loads(result.stdout)
        assert (document["Result"], document["Code"]) == ("failed", code)
        assert result.stderr == ""


def test_without_kafka_a_change_is_kept_and_the_output_stays_clean(cli: Cli) -> None:
    process = cli.launch("app", "create", "--name", "offline", "--json")
    output, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, errors
    assert json.loads(output)["Name"] == "offline"
    assert errors.count("\n") == 1
    assert errors.startswith("stored; Kafka ")
    assert [one["Name"] for one in cli.document("app", "list")["Applications"]] == ["offline"]


def test_processes_that_start_together_in_a_new_folder_all_succeed(cli: Cli) -> None:
    processes = [cli.launch("app", "create", "--name", f"app_{number}", "--json") for number in range(5)]
    made = []
    for process in processes:
        output, errors = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0, errors
        made.append(json.loads(output))
    assert sorted(one["SdkAppId"] for one in made) == list(range(1400000001, 1400000006))
    assert len({one["SDKSecretKey"] for one in made}) == 5
    # One key seals them all, whoever made it.
    assert len(cli.document("app", "list")["Applications"]) == 5


@pytest.fixture(scope="module")
async def broker(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> KafkaBroker:
    """Kafka with its topics."""
    await ensure_topics(Settings(data=tmp_path_factory.mktemp("topics"), kafka_bootstrap=kafka.bootstrap))
    return kafka


@pytest.fixture
def online(broker: KafkaBroker, tmp_path: Path) -> Cli:
    """Commands that reach Kafka."""
    return Cli(Settings(data=tmp_path / "online", kafka_bootstrap=broker.bootstrap))


async def until(condition: Callable[[], object], within_s: float = WAIT_S) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


async def finished(process: subprocess.Popen[str]) -> Any:
    output, errors = await asyncio.to_thread(process.communicate, timeout=WAIT_S)
    assert (process.returncode, errors) == (0, ""), errors
    return json.loads(output)


async def test_a_change_reaches_services_that_run(online: Cli) -> None:
    table = ApplicationTable(online.settings)
    await table.start()
    await table.wait_ready()
    try:
        made = await finished(online.launch("app", "create", "--name", "live", "--json"))
        sdk_app_id = made["SdkAppId"]
        await until(lambda: table.get(sdk_app_id))
        known = table.get(sdk_app_id)
        assert known is not None
        assert known.secret_key == made["SDKSecretKey"]
        url = "http://127.0.0.1:9000/r"
        await finished(
            online.launch("app", "set-callback", str(sdk_app_id), "--key", "K1", "--room-url", url, "--json")
        )
        await until(lambda: table.get(sdk_app_id) not in (None, known))
        changed = table.get(sdk_app_id)
        assert changed is not None
        assert (changed.callback_key, changed.callback.room_url) == ("K1", url)
    finally:
        await table.stop()


async def test_dead_letters_are_listed_and_replayed(online: Cli) -> None:
    store = ApplicationStore(online.settings)
    event = room_event(store.create("late", sdk_app_id=1400000009), 8801)
    store.close()
    name = delivery_id(event.sdk_app_id, event.event_id)
    record = RetryRecord(
        delivery_id=name,
        event=event,
        accepted_ms=1,
        source_partition=0,
        source_offset=0,
        callback_ts=1,
        attempts=7,
    )
    letter = DeadLetter(callback=record, given_up_ms=1_700_000_000_000, reason="status", url="http://a.example/")
    producer = AIOKafkaProducer(bootstrap_servers=online.settings.kafka_bootstrap)
    await producer.start()
    await producer.send_and_wait(DEAD_LETTERS.name, msgspec.json.encode(letter))
    await producer.stop()
    found = await finished(online.launch("callbacks", "dead", "1400000009", "--json"))
    assert found == {
        "DeadLetters": [
            {
                "DeliveryId": name,
                "GivenUpTime": "2023-11-14T22:13:20.000+00:00",
                "Reason": "status",
                "Attempts": 7,
                "Url": "http://a.example/",
                "EventGroupId": 1,
                "EventType": 103,
                "EventMsTs": event.event_ms_ts,
                "RoomId": "8801",
                "UserId": "alice",
                "TaskId": "",
            }
        ],
        "Total": 1,
    }
    later = ["--since", "2023-11-14T22:13:21"]
    assert await finished(online.launch("callbacks", "replay", "1400000009", *later, "--json")) == {"Replayed": []}
    about = ["--since", "2023-11-14T22:13:20", "--until", "2023-11-15", "--reason", "status", "--group", "1"]
    assert await finished(online.launch("callbacks", "replay", "1400000009", *about, "--json")) == {"Replayed": [name]}


async def test_the_console_publishes_everything_and_then_each_change(online: Cli) -> None:
    store = ApplicationStore(online.settings)
    kept, gone = store.create("kept"), store.create("gone")
    gone = store.set_status(gone.sdk_app_id, "deleted")
    table = ApplicationTable(online.settings)
    await table.start()
    publishing = Publisher(online.settings, store)
    task = asyncio.create_task(publishing.run())
    try:
        await until(lambda: table.get(kept.sdk_app_id) == kept)
        await until(lambda: publishing.ready)
        # A process that changes an application and dies before it could tell of it.
        other = ApplicationStore(online.settings)
        changed = other.set_callback(kept.sdk_app_id, key="Changed1")
        other.close()
        await until(lambda: table.get(kept.sdk_app_id) == changed)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await table.stop()
        store.close()
    assert await last_versions(online.settings, [kept, gone]) == {kept.sdk_app_id: 2, gone.sdk_app_id: 2}


async def test_who_is_late_to_publish_leaves_the_newest_record(online: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ApplicationStore(online.settings)
    mine = store.create("contended")
    publish = publisher.publish_applications

    async def overtaken(settings: Settings, applications: Iterable[Application]) -> None:
        monkeypatch.setattr(publisher, "publish_applications", publish)
        await publish(settings, [store.set_callback(mine.sdk_app_id, key="Faster1")])
        await publish(settings, applications)

    monkeypatch.setattr(publisher, "publish_applications", overtaken)
    await publish_newest(online.settings, store, mine.sdk_app_id)
    assert await last_versions(online.settings, [mine]) == {mine.sdk_app_id: 2}
    store.close()


async def last_versions(settings: Settings, applications: list[Application]) -> dict[int, int]:
    """What compaction leaves: the last record of each key."""
    consumer = AIOKafkaConsumer(
        APPLICATIONS.name, bootstrap_servers=settings.kafka_bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        (partition,) = consumer.assignment()
        end = (await consumer.end_offsets([partition]))[partition]
        last: dict[bytes | None, ApplicationRecord] = {}
        async with asyncio.timeout(WAIT_S):
            while await consumer.position(partition) < end:
                for record in (await consumer.getmany(timeout_ms=250)).get(partition, []):
                    last[record.key] = msgspec.json.decode(record.value or b"", type=ApplicationRecord)
    finally:
        await consumer.stop()
    return {one.sdk_app_id: last[str(one.sdk_app_id).encode()].version for one in applications}
