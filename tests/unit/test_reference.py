from __future__ import annotations

from services.runtime.reference import PAGE, page, settings_table


def test_the_page_of_settings_is_current() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m services.runtime.reference"


def test_every_setting_has_a_meaning_unless_its_name_says_it() -> None:
    self_explaining = {
        "CONSOLE_PORT",
        "INGEST_PORT",
        "KAFKA_BOOTSTRAP",
        "KAFKA_REPLICATION",
        "CLICKHOUSE_DATABASE",
        "LOG_LEVEL",
    }
    bare = {
        row.split("`")[1].removeprefix("ROOMPULSE_") for row in settings_table().splitlines() if row.endswith("|  |")
    }
    assert bare <= self_explaining
