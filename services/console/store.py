"""The control-plane database: applications, with their secrets sealed. SQLite or PostgreSQL."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from schemas.applications import Application, ApplicationRecord, ApplicationStatus, CallbackConfig
from services.console.rules import check_callback_key, check_callback_url, check_name
from services.runtime.applications import open_application, seal_application
from services.runtime.clock import Clock, now_ms
from services.runtime.secrets import SecretBox

if TYPE_CHECKING:
    from services.runtime.settings import Settings

FIRST_SDK_APP_ID = 1400000001
MAX_APPLICATIONS = 300
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


class Conflict(Exception):
    """Somebody else changed the application at the same time; read it again."""


class ApplicationStore:
    """Applications at rest. Every change counts the version up, so that followers can tell old from new."""

    def __init__(self, settings: Settings, *, clock: Clock = now_ms) -> None:
        self._box = SecretBox.from_settings(settings)
        self._clock = clock
        self._strict_urls = settings.strict_callback_urls
        url = settings.control_database_url
        self._engine = sa.create_engine(url)
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _durable_sqlite)
        _metadata.create_all(self._engine, checkfirst=True)

    def close(self) -> None:
        """Let the database go."""
        self._engine.dispose()

    def create(self, name: str, *, sdk_app_id: int | None = None) -> Application:
        """A new application with a fresh secret key.

        Raises `RuleBroken` for the name, `ApplicationLimit` when there are too many.
        """
        check_name(name)
        with self._engine.begin() as connection:
            count, last = connection.execute(sa.select(sa.func.count(), sa.func.max(_applications.c.sdk_app_id))).one()
            if count >= MAX_APPLICATIONS:
                raise ApplicationLimit(f"there are {count} applications already, at most {MAX_APPLICATIONS}")
            application = Application(
                sdk_app_id=sdk_app_id or max(FIRST_SDK_APP_ID, (last or 0) + 1),
                name=name,
                status="enabled",
                version=1,
                created_ms=self._clock(),
                secret_key=secrets.token_hex(32),
            )
            connection.execute(
                sa.insert(_applications).values(
                    sdk_app_id=application.sdk_app_id, version=1, record=self._to_text(application)
                )
            )
        return application

    def get(self, sdk_app_id: int) -> Application:
        """Raises `UnknownApplication`, for a deleted one too."""
        with self._engine.connect() as connection:
            row = connection.execute(
                sa.select(_applications.c.record).where(_applications.c.sdk_app_id == sdk_app_id)
            ).one_or_none()
        application = self._from_text(row.record) if row is not None else None
        if application is None or application.status == "deleted":
            raise UnknownApplication(f"there is no application {sdk_app_id}")
        return application

    def all(self, *, with_deleted: bool = False) -> list[Application]:
        """Every application, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(_applications.c.record).order_by(_applications.c.sdk_app_id)).all()
        applications = [self._from_text(row.record) for row in rows]
        return [application for application in applications if with_deleted or application.status != "deleted"]

    def set_callback(
        self, sdk_app_id: int, *, key: str | None = None, group_urls: dict[str, str] | None = None, **urls: str
    ) -> Application:
        """Change callback key and URLs; what is not named stays, an empty text removes.

        `urls` are fields of `CallbackConfig` (`room_url`, …). Raises `RuleBroken`.
        """
        application = self.get(sdk_app_id)
        for url in (*urls.values(), *(group_urls or {}).values()):
            check_callback_url(url, strict=self._strict_urls)
        groups = {**application.callback.group_urls, **(group_urls or {})}
        changes: dict[str, object] = {**urls, "group_urls": {name: url for name, url in groups.items() if url}}
        callback = msgspec.structs.replace(application.callback, **changes)
        callback_key = application.callback_key if key is None else check_callback_key(key)
        return self._change(application, callback=callback, callback_key=callback_key)

    def set_status(self, sdk_app_id: int, status: ApplicationStatus) -> Application:
        """Enable, disable or delete."""
        return self._change(self.get(sdk_app_id), status=status)

    def _change(
        self,
        application: Application,
        *,
        callback: CallbackConfig | None = None,
        callback_key: str | None = None,
        status: ApplicationStatus | None = None,
    ) -> Application:
        changed = msgspec.structs.replace(
            application,
            version=application.version + 1,
            callback=application.callback if callback is None else callback,
            callback_key=application.callback_key if callback_key is None else callback_key,
            status=status or application.status,
        )
        with self._engine.begin() as connection:
            result = connection.execute(
                sa.update(_applications)
                .where(_applications.c.sdk_app_id == changed.sdk_app_id)
                .where(_applications.c.version == application.version)
                .values(version=changed.version, record=self._to_text(changed))
            )
            if result.rowcount != 1:
                raise Conflict(f"application {changed.sdk_app_id} was changed by somebody else at the same time")
        return changed

    def _to_text(self, application: Application) -> str:
        return msgspec.json.encode(seal_application(application, self._box)).decode()

    def _from_text(self, text: str) -> Application:
        return open_application(msgspec.json.decode(text, type=ApplicationRecord), self._box)


def _durable_sqlite(connection: object, _: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=5000")
    cursor.close()
