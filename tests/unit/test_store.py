from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import pytest

from services.console.rules import RuleBroken
from services.console.store import (
    MAX_APPLICATIONS,
    ApplicationLimit,
    ApplicationStore,
    DatabaseUnusable,
    NumberTaken,
    UnknownApplication,
    new_webhook_secret,
)
from services.runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path)


@pytest.fixture
def store(settings: Settings) -> Iterator[ApplicationStore]:
    store = ApplicationStore(settings)
    yield store
    store.close()


def test_an_application_comes_back_as_it_was_created(store: ApplicationStore, settings: Settings) -> None:
    created = store.create("demo")
    assert len(created.secret_key) == 64
    assert set(created.secret_key) <= set("0123456789abcdef")
    assert store.get(created.sdk_app_id) == created
    again = ApplicationStore(settings)
    assert again.all() == [created]
    again.close()


def test_editions_and_days(store: ApplicationStore) -> None:
    created = store.create("demo")
    assert (created.monitoring_edition, created.utc_offset_minutes) == ("premium", 0)
    store.set_monitoring(created.sdk_app_id, edition="free")
    changed = store.set_monitoring(created.sdk_app_id, utc_offset_minutes=-210)
    assert store.get(created.sdk_app_id) == changed
    assert (changed.monitoring_edition, changed.utc_offset_minutes, changed.version) == ("free", -210, 3)
    for minutes in (-735, 855, 481):
        with pytest.raises(RuleBroken, match="multiple of 15"):
            store.set_monitoring(created.sdk_app_id, utc_offset_minutes=minutes)


def test_no_key_is_in_the_database_file(store: ApplicationStore, settings: Settings) -> None:
    application = store.create("demo")
    webhook_secret, following = new_webhook_secret(), new_webhook_secret()
    store.set_callback(application.sdk_app_id, key="Plain0Callback0Key", webhook_secret=webhook_secret)
    store.set_next(application.sdk_app_id, key="Next0Callback0Key", webhook_secret=following)
    store.close()
    for file in settings.data.glob("control.sqlite*"):
        content = file.read_bytes()
        assert application.secret_key.encode() not in content
        assert b"Plain0Callback0Key" not in content
        assert b"Next0Callback0Key" not in content
        assert b"whsec_" not in content


def test_changing_callbacks_leaves_what_is_not_named(store: ApplicationStore) -> None:
    app = store.create("demo")
    store.set_callback(
        app.sdk_app_id, key="abc1", room_url="http://a.example/r", group_urls={"7": "http://a.example/7"}
    )
    changed = store.set_callback(app.sdk_app_id, media_url="http://a.example/m")
    assert changed.version == 3
    assert changed.callback_key == "abc1"
    assert changed.callback.room_url == "http://a.example/r"
    assert changed.callback.url_of(2) == "http://a.example/m"
    assert changed.callback.url_of(7) == "http://a.example/7"
    removed = store.set_callback(app.sdk_app_id, key="", room_url="", group_urls={"7": ""})
    assert removed.callback_key == ""
    assert removed.callback.url_of(1) == removed.callback.url_of(7) == ""


def test_next_keys_follow_when_they_are_promoted(store: ApplicationStore) -> None:
    app_id = store.create("demo").sdk_app_id
    first, second = new_webhook_secret(), new_webhook_secret()
    with pytest.raises(RuleBroken):
        store.set_next(app_id, key="b1")
    store.set_callback(app_id, key="a1", webhook_secret=first, room_url="http://a.example/r")
    store.set_next(app_id, key="b1")
    both = store.set_next(app_id, webhook_secret=second)
    assert (both.callback_key, both.next_callback_key) == ("a1", "b1")
    assert (both.webhook_secret, both.next_webhook_secret) == (first, second)
    after = store.promote(app_id)
    assert (after.callback_key, after.next_callback_key) == ("b1", "")
    assert (after.webhook_secret, after.next_webhook_secret) == (second, "")
    assert after.callback == both.callback
    assert store.get(app_id) == after
    with pytest.raises(RuleBroken):
        store.promote(app_id)


def test_promoting_one_of_two_leaves_the_other(store: ApplicationStore) -> None:
    app_id = store.create("demo").sdk_app_id
    secret = new_webhook_secret()
    store.set_callback(app_id, key="a1", webhook_secret=secret)
    store.set_next(app_id, key="b1")
    after = store.promote(app_id)
    assert (after.callback_key, after.webhook_secret) == ("b1", secret)


def test_a_next_key_goes_with_the_one_that_it_was_to_follow(store: ApplicationStore) -> None:
    app_id = store.create("demo").sdk_app_id
    store.set_callback(app_id, key="a1")
    store.set_next(app_id, key="b1")
    removed = store.set_callback(app_id, key="")
    assert (removed.callback_key, removed.next_callback_key) == ("", "")


@pytest.mark.parametrize("secret", ["whsec_", "whsec_!!!!", "whsec_" + "A" * 28, "A" * 44, "whsec_" + "A" * 92])
def test_secrets_that_are_none(store: ApplicationStore, secret: str) -> None:
    app_id = store.create("demo").sdk_app_id
    with pytest.raises(RuleBroken):
        store.set_callback(app_id, webhook_secret=secret)


def test_a_wrong_url_changes_nothing(store: ApplicationStore) -> None:
    application = store.create("demo")
    with pytest.raises(RuleBroken):
        store.set_callback(application.sdk_app_id, room_url="ftp://a.example")
    assert store.get(application.sdk_app_id) == application


def test_unknown_and_deleted_applications_are_not_found(store: ApplicationStore) -> None:
    with pytest.raises(UnknownApplication):
        store.get(1)
    application = store.create("demo")
    store.set_status(application.sdk_app_id, "deleted")
    with pytest.raises(UnknownApplication):
        store.get(application.sdk_app_id)
    assert store.all() == []
    assert [gone.status for gone in store.all(with_deleted=True)] == ["deleted"]


@pytest.mark.parametrize("sdk_app_id", [0, -1, 2**32, 2**64])
def test_numbers_that_no_application_can_have_are_not_found(store: ApplicationStore, sdk_app_id: int) -> None:
    with pytest.raises(UnknownApplication):
        store.get(sdk_app_id)


def test_a_number_is_given_once_even_after_deletion(store: ApplicationStore) -> None:
    chosen = store.create("chosen", sdk_app_id=1400000007)
    with pytest.raises(NumberTaken):
        store.create("again", sdk_app_id=chosen.sdk_app_id)
    store.set_status(chosen.sdk_app_id, "deleted")
    with pytest.raises(NumberTaken):
        store.create("again", sdk_app_id=chosen.sdk_app_id)
    assert store.create("next").sdk_app_id == chosen.sdk_app_id + 1


def test_versions_tell_what_changed(store: ApplicationStore) -> None:
    one, other = store.create("one"), store.create("other")
    assert store.versions() == {one.sdk_app_id: 1, other.sdk_app_id: 1}
    store.set_callback(one.sdk_app_id, key="abc1")
    gone = store.set_status(other.sdk_app_id, "deleted")
    assert store.versions() == {one.sdk_app_id: 2, other.sdk_app_id: 2}
    assert store.newest(other.sdk_app_id) == gone


def work_beside_others(settings: Settings, number: int) -> None:
    """One of several processes that use the same database at the same time."""
    store = ApplicationStore(settings)
    store.create(f"app_{number}")
    for step in range(5):
        store.set_callback(1400000001, group_urls={str(20 + number): f"http://a.example/{step}"})
    store.close()


def test_processes_beside_one_another_lose_nothing_and_never_fail(settings: Settings) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(6, mp_context=context) as pool:
        for done in [pool.submit(work_beside_others, settings, number) for number in range(6)]:
            done.result()
    store = ApplicationStore(settings)
    applications = store.all()
    assert [one.sdk_app_id for one in applications] == list(range(1400000001, 1400000007))
    assert {one.name for one in applications} == {f"app_{number}" for number in range(6)}
    assert applications[0].version == 1 + 6 * 5
    assert applications[0].callback.group_urls == {str(20 + number): "http://a.example/4" for number in range(6)}
    store.close()


def test_a_new_database_that_somebody_else_holds_is_waited_for(settings: Settings) -> None:
    holder = sqlite3.connect(settings.data / "control.sqlite", check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.3, holder.rollback)
    release.start()
    store = ApplicationStore(settings)
    assert not release.is_alive()
    store.create("demo")
    store.close()
    holder.close()


def test_a_database_that_cannot_be_used_is_told_in_one_line(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "control.sqlite").write_bytes(b"this is no database " * 100)
    others = ["sqlite:////nowhere/at/all/control.sqlite", "nonsense", "postgresql+nodriver://host/db"]
    for broken in [settings, *(Settings(data=tmp_path, database_url=url) for url in others)]:
        with pytest.raises(DatabaseUnusable) as caught:
            ApplicationStore(broken).all()
        assert len(str(caught.value).splitlines()) == 1
        assert str(caught.value).startswith("the control-plane database cannot be used: ")


def test_there_are_at_most_three_hundred(store: ApplicationStore, settings: Settings) -> None:
    first = store.create("demo")
    with sqlite3.connect(settings.data / "control.sqlite") as database:
        (record,) = database.execute("SELECT record FROM applications").fetchone()
        rows = [(first.sdk_app_id + n, 1, record) for n in range(1, MAX_APPLICATIONS)]
        database.executemany("INSERT INTO applications VALUES (?, ?, ?)", rows)
    database.close()
    with pytest.raises(ApplicationLimit):
        store.create("one_too_many")
    # The deleted ones do not count.
    store.set_status(first.sdk_app_id, "deleted")
    store.create("in_its_place")


def test_the_secret_key_file_is_for_its_owner_only(store: ApplicationStore, settings: Settings) -> None:
    assert (settings.data / "secret.key").stat().st_mode & 0o777 == 0o600


def test_records_on_the_topic_do_not_show_secrets(store: ApplicationStore, settings: Settings) -> None:
    from services.runtime.applications import open_application, seal_application
    from services.runtime.secrets import SecretBox

    application = store.create("demo")
    box = SecretBox.from_settings(settings)
    record = seal_application(application, box)
    assert application.secret_key.encode() not in msgspec.json.encode(record)
    assert open_application(record, box) == application
