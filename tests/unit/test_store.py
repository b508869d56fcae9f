from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import msgspec
import pytest

from services.console.rules import RuleBroken
from services.console.store import MAX_APPLICATIONS, ApplicationLimit, ApplicationStore, Conflict, UnknownApplication
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


def test_neither_key_is_in_the_database_file(store: ApplicationStore, settings: Settings) -> None:
    application = store.create("demo")
    store.set_callback(application.sdk_app_id, key="Plain0Callback0Key")
    store.close()
    for file in settings.data.glob("control.sqlite*"):
        content = file.read_bytes()
        assert application.secret_key.encode() not in content
        assert b"Plain0Callback0Key" not in content


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


def test_a_change_of_somebody_else_is_not_overwritten(store: ApplicationStore, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = store.create("demo")
    store.set_status(stale.sdk_app_id, "disabled")
    monkeypatch.setattr(store, "get", lambda _: stale)
    with pytest.raises(Conflict):
        store.set_status(stale.sdk_app_id, "deleted")


def test_there_are_at_most_three_hundred(store: ApplicationStore, settings: Settings) -> None:
    first = store.create("demo")
    with sqlite3.connect(settings.data / "control.sqlite") as database:
        (record,) = database.execute("SELECT record FROM applications").fetchone()
        rows = [(first.sdk_app_id + n, 1, record) for n in range(1, MAX_APPLICATIONS)]
        database.executemany("INSERT INTO applications VALUES (?, ?, ?)", rows)
    database.close()
    with pytest.raises(ApplicationLimit):
        store.create("one_too_many")


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
