"""The code in the documentation, run as it stands there."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from schemas import examples
from schemas.callbacks import sign
from services.runtime.usersig import Privilege, verify, verify_private_map_key
from tests.contract import nodejs
from tests.support.clickhouse import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs"
SIGNED_BODY = re.compile(r"Sign: (\S+)\n\n(\{.*\})\n")
PRETTY = (
    '{\n\t"EventGroupId":\t1,\n\t"EventType":\t101,\n\t"EventInfo":\t{\n\t\t"UserId":\t"张三",\n\t\t"N":\t1.0\n\t}\n}'
)


def snippets(page: str, language: str) -> list[str]:
    """The blocks of code of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)


def command(language: str, snippet: str, folder: Path) -> list[str]:
    """How to run a snippet, with the packages that it may name within reach."""
    if language == "python":
        path = folder / "snippet.py"
        run = [sys.executable, str(path)]
    else:
        path = folder / "snippet.cjs"
        run = [nodejs.node(), str(path)]
    path.write_text(snippet, "utf-8")
    return run


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONUTF8": "1", "NODE_PATH": str(nodejs.FOLDER / "node_modules"), **more}


@contextmanager
def running(run: list[str], port: int, output: Path) -> Iterator[None]:
    with output.open("wb") as printed:
        process = subprocess.Popen(
            run, env=environment(CALLBACK_KEY=examples.CALLBACK_KEY, PORT=str(port)), stdout=printed, stderr=printed
        )
        try:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and process.poll() is None and not answers(port):
                time.sleep(0.05)
            assert answers(port), output.read_text()
            yield
        finally:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def post(port: int, body: bytes, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/rtc/room", body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


@pytest.mark.parametrize("language", ["python", "js"])
def test_receivers_believe_what_is_signed_and_nothing_else(language: str, tmp_path: Path) -> None:
    (snippet,) = snippets("callback-bodies.md", language)
    port, output = free_port(), tmp_path / "output"
    with running(command(language, snippet, tmp_path), port, output):
        published = SIGNED_BODY.search((DOCS / "callback-bodies.md").read_text("utf-8"))
        assert published is not None
        body = published[2].encode()
        assert post(port, body, {"Sign": published[1], "SdkAppId": "1400000001"}) == 200
        for right in (*examples.callbacks(), PRETTY.encode()):
            assert post(port, right, {"Sign": sign(examples.CALLBACK_KEY, right)}) == 200
        printed = output.read_bytes()
        for altered, headers in (
            (body + b" ", {"Sign": published[1]}),
            (body.replace(b"alice", b"alicf"), {"Sign": published[1]}),
            (body, {"Sign": sign("another", body)}),
            (body, {"Sign": published[1][:-1]}),
            (body, {"Sign": published[1].lower()}),
            (body, {"Sign": "é"}),
            (body, {"Sign": ""}),
            (body, {}),
        ):
            assert post(port, altered, headers) == 401
        assert b"alice" in printed
        assert "张三".encode() in printed
        assert b"alicf" not in output.read_bytes()
        assert post(port, body, {"sign": published[1]}) == 200


@pytest.mark.parametrize("language", ["python", "js"])
def test_the_user_sigs_that_the_page_makes_are_right(language: str, tmp_path: Path) -> None:
    about: dict[str, Any] = {"sdk_app_id": 1400000001, "key": examples.SECRET_KEY, "user_id": "alice"}
    made = []
    for snippet in snippets("usersig.md", language):
        finished = subprocess.run(
            command(language, snippet, tmp_path),
            env=environment(SDK_SECRET_KEY=examples.SECRET_KEY),
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
        )
        made.append(finished.stdout.split())
    assert len(made) == 2
    now = int(time.time())
    if language == "python":
        assert [len(printed) for printed in made] == [1, 1]
    else:
        numeric, string = made.pop()
        enter = Privilege.ENTER_ROOM
        assert verify_private_map_key(numeric, room=12345, needed=enter, now=now, **about).privileges == 42
        assert verify_private_map_key(string, room="room-A", needed=enter, now=now, **about).privileges == 255
    for (user_sig,) in made:
        assert verify(user_sig, now=now, **about).expire == 86400
