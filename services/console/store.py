"""The control-plane database: applications, with their secrets sealed. SQLite or PostgreSQL."""

from __future__ import annotations

import base64
import secrets
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from schemas.applications import (
    Application,
    ApplicationRecord,
    ApplicationStatus,
    CallbackSchedule,
    MonitoringEdition,
)
from schemas.callbacks import WEBHOOK_PREFIX
from services.console.rules import (
    RuleBroken,
    check_callback_key,
    check_callback_url,
    check_name,
    check_utc_offset,
    check_webhook_secret,
)
from services.runtime.applications import open_application, seal_application
from services.runtime.clock import Clock, now_ms
from services.runtime.secrets import SecretBox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.runtime.settings import Settings

FIRST_SDK_APP_ID = 1400000001
LAST_SDK_APP_ID = 4294967295
MAX_APPLICATIONS = 300
BUSY_S = 30
"""How long a process waits for its turn to write; a turn takes milliseconds."""
_NUMBER_TRIES = 20
_metadata = sa.MetaData()
_applications = sa.Table(
    "applications",
    _metadata,
    sa.Column("sdk_app_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
)


class UnknownApplication(Exception):
    """There is no application with this SdkAppId."""


class ApplicationLimit(Exception):
    """An account has at most 300 applications."""


class NumberTaken(Exception):
    """There is, or was, an application with this SdkAppId already."""


class DatabaseUnusable(Exception):
    """The control-plane database cannot be opened, read or written; the message says why, in one line."""


class ApplicationStore:
    """Applications at rest. Every change counts the version up, so that followers can tell old from new.

    Any number of processes may use one database: what is read in order to be changed is locked until it has been.
    Every method raises `DatabaseUnusable`.
    """

    def __init__(self, settings: Settings, *, clock: Clock = now_ms) -> None:
        self._box = SecretBox.from_settings(settings)
        self._clock = clock
        self._strict_urls = settings.strict_callback_urls
        with _plain_errors():
            url = sa.make_url(settings.control_database_url)
            is_sqlite = url.get_backend_name() == "sqlite"
            if is_sqlite and not settings.database_url:
                settings.data.mkdir(parents=True, exist_ok=True)
            self._engine = sa.create_engine(url, connect_args={"timeout": BUSY_S} if is_sqlite else {})
            self._writer = self._engine.execution_options(writes=True)
            if is_sqlite:
                sa.event.listen(self._engine, "connect", _durable_sqlite)
                sa.event.listen(self._engine, "begin", _begin_sqlite)
            self._make_table()

    def close(self) -> None:
        """Let the database go."""
        self._engine.dispose()

    def create(self, name: str, *, sdk_app_id: int | None = None) -> Application:
        """A new application with a fresh secret key.

        Raises `RuleBroken` for the name, `ApplicationLimit` when there are too many, `NumberTaken`.
        """
        check_name(name)
        for _ in range(_NUMBER_TRIES):
            try:
                return self._insert(name, sdk_app_id)
            except NumberTaken:
                # PostgreSQL lets two processes choose the same next number; the one that loses takes another.
                if sdk_app_id is not None:
                    raise
        raise DatabaseUnusable("the control-plane database has no free number; try again")

    def get(self, sdk_app_id: int) -> Application:
        """Raises `UnknownApplication`, for a deleted one too."""
        with self._reading() as connection:
            return self._alive(connection, sdk_app_id)

    def newest(self, sdk_app_id: int) -> Application:
        """The application as it is now, deleted ones too. Raises `UnknownApplication`."""
        with self._reading() as connection:
            return self._row(connection, sdk_app_id)

    def all(self, *, with_deleted: bool = False) -> list[Application]:
        """Every application, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(_applications.c.record).order_by(_applications.c.sdk_app_id)).all()
            applications = [self._from_text(row.record) for row in rows]
        return [application for application in applications if with_deleted or application.status != "deleted"]

    def versions(self) -> dict[int, int]:
        """The version of every application, deleted ones too: what to look at to learn whether anything changed."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(_applications.c.sdk_app_id, _applications.c.version)).all()
        return {row.sdk_app_id: row.version for row in rows}

    def set_callback(
        self,
        sdk_app_id: int,
        *,
        key: str | None = None,
        webhook_secret: str | None = None,
        schedule: CallbackSchedule | None = None,
        rate: float | None = None,
        ordered: bool | None = None,
        group_urls: dict[str, str] | None = None,
        **urls: str,
    ) -> Application:
        """Change callback key, secret, schedule, rate, order and URLs; what is not named stays, an empty text removes.

        With a key or secret the next one to it goes too: nothing is left that it could follow.

        `urls` are fields of `CallbackConfig` (`room_url`, …). Raises `RuleBroken`, `UnknownApplication`.
        """
        for url in (*urls.values(), *(group_urls or {}).values()):
            check_callback_url(url, strict=self._strict_urls)
        keys = _named(callback_key=key, webhook_secret=webhook_secret)
        with self._writing() as connection:
            application = self._alive(connection, sdk_app_id, for_update=True)
            groups = {**application.callback.group_urls, **(group_urls or {})}
            changes: dict[str, object] = {**urls, "group_urls": {name: url for name, url in groups.items() if url}}
            if schedule is not None:
                changes["schedule"] = schedule
            if rate is not None:
                changes["rate"] = rate
            if ordered is not None:
                changes["ordered"] = ordered
            callback = msgspec.structs.replace(application.callback, **changes)
            cleared = {f"next_{name}": "" for name in keys}
            return self._change(connection, application, callback=callback, **keys, **cleared)

    def set_next(self, sdk_app_id: int, *, key: str | None = None, webhook_secret: str | None = None) -> Application:
        """Set the key and the secret that sign beside the present ones; what is not named stays, an empty text removes.

        Raises `RuleBroken`, also where there is no present one that they could stand beside, and `UnknownApplication`.
        """
        keys = _named(callback_key=key, webhook_secret=webhook_secret)
        with self._writing() as connection:
            application = self._alive(connection, sdk_app_id, for_update=True)
            for name, value in keys.items():
                if value and not getattr(application, name):
                    raise RuleBroken(f"there is no {name.replace('_', ' ')} yet that another one could follow")
            return self._change(connection, application, **{f"next_{name}": value for name, value in keys.items()})

    def promote(self, sdk_app_id: int) -> Application:
        """Let the next key and the next secret take the place of the present ones, where they are set.

        Raises `RuleBroken` where neither is, `UnknownApplication`.
        """
        with self._writing() as connection:
            application = self._alive(connection, sdk_app_id, for_update=True)
            if not (application.next_callback_key or application.next_webhook_secret):
                raise RuleBroken("there is no next key and no next secret")
            return self._change(
                connection,
                application,
                callback_key=application.next_callback_key or application.callback_key,
                webhook_secret=application.next_webhook_secret or application.webhook_secret,
                next_callback_key="",
                next_webhook_secret="",
            )

    def set_monitoring(
        self, sdk_app_id: int, *, edition: MonitoringEdition | None = None, utc_offset_minutes: int | None = None
    ) -> Application:
        """Change edition and offset; what is not named stays. Raises `RuleBroken`, `UnknownApplication`."""
        changes: dict[str, object] = {}
        if edition is not None:
            changes["monitoring_edition"] = edition
        if utc_offset_minutes is not None:
            changes["utc_offset_minutes"] = check_utc_offset(utc_offset_minutes)
        with self._writing() as connection:
            application = self._alive(connection, sdk_app_id, for_update=True)
            return self._change(connection, application, **changes)

    def set_status(self, sdk_app_id: int, status: ApplicationStatus) -> Application:
        """Enable, disable or delete. Raises `UnknownApplication`."""
        with self._writing() as connection:
            application = self._alive(connection, sdk_app_id, for_update=True)
            return self._change(connection, application, status=status)

    def _make_table(self) -> None:
        def exists() -> bool:
            return sa.inspect(self._engine).has_table(_applications.name)

        if exists():
            return
        try:
            with self._writer.begin() as connection:
                connection.execute(sa.schema.CreateTable(_applications, if_not_exists=True))
        except SQLAlchemyError:
            # PostgreSQL fails here where another process makes the table at the same moment.
            if not exists():
                raise

    def _insert(self, name: str, sdk_app_id: int | None) -> Application:
        with self._writing() as connection:
            rows = connection.execute(sa.select(_applications.c.sdk_app_id, _applications.c.record)).all()
            alive = sum(_decode(row.record).status != "deleted" for row in rows)
            if alive >= MAX_APPLICATIONS:
                raise ApplicationLimit(f"there are {alive} applications already, at most {MAX_APPLICATIONS}")
            last = max((row.sdk_app_id for row in rows), default=0)
            application = Application(
                sdk_app_id=sdk_app_id or max(FIRST_SDK_APP_ID, last + 1),
                name=name,
                status="enabled",
                version=1,
                created_ms=self._clock(),
                secret_key=secrets.token_hex(32),
            )
            try:
                connection.execute(
                    sa.insert(_applications).values(
                        sdk_app_id=application.sdk_app_id, version=1, record=self._to_text(application)
                    )
                )
            except IntegrityError as error:
                raise NumberTaken(f"there is an application {application.sdk_app_id} already") from error
        return application

    def _change(self, connection: sa.Connection, application: Application, **changes: object) -> Application:
        changed = msgspec.structs.replace(application, version=application.version + 1, **changes)
        connection.execute(
            sa.update(_applications)
            .where(_applications.c.sdk_app_id == changed.sdk_app_id)
            .values(version=changed.version, record=self._to_text(changed))
        )
        return changed

    def _alive(self, connection: sa.Connection, sdk_app_id: int, *, for_update: bool = False) -> Application:
        application = self._row(connection, sdk_app_id, for_update=for_update)
        if application.status == "deleted":
            raise UnknownApplication(f"there is no application {sdk_app_id}")
        return application

    def _row(self, connection: sa.Connection, sdk_app_id: int, *, for_update: bool = False) -> Application:
        query = sa.select(_applications.c.record).where(_applications.c.sdk_app_id == sdk_app_id)
        in_range = 0 < sdk_app_id <= LAST_SDK_APP_ID
        row = connection.execute(query.with_for_update() if for_update else query).one_or_none() if in_range else None
        if row is None:
            raise UnknownApplication(f"there is no application {sdk_app_id}")
        return self._from_text(row.record)

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with _plain_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with _plain_errors(), self._writer.begin() as connection:
            yield connection

    def _to_text(self, application: Application) -> str:
        return msgspec.json.encode(seal_application(application, self._box)).decode()

    def _from_text(self, text: str) -> Application:
        return open_application(_decode(text), self._box)


def new_webhook_secret() -> str:
    """A fresh secret for the headers of Standard Webhooks."""
    return WEBHOOK_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def _named(*, callback_key: str | None, webhook_secret: str | None) -> dict[str, str]:
    """The fields that are named, checked. Raises `RuleBroken`."""
    named = {}
    if callback_key is not None:
        named["callback_key"] = check_callback_key(callback_key)
    if webhook_secret is not None:
        named["webhook_secret"] = check_webhook_secret(webhook_secret)
    return named


def _decode(text: str) -> ApplicationRecord:
    return msgspec.json.decode(text, type=ApplicationRecord)


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, ImportError, OSError, msgspec.DecodeError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        why = " ".join(str(cause).split("(Background on")[0].split())
        raise DatabaseUnusable(f"the control-plane database cannot be used: {why}") from error


def _durable_sqlite(connection: object, _: object) -> None:
    # The driver would begin a transaction before a write only, and so let what was read change in between.
    connection.isolation_level = None  # type: ignore[attr-defined]
    cursor = connection.cursor()  # type: ignore[attr-defined]
    give_up = time.monotonic() + BUSY_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError:
            # The first switch to this mode needs the file for itself and, unlike other statements, does not wait.
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
