# mypy: ignore-errors
"""Celery and requests as many a back end has them: one task a callback, signed and posted by a worker."""

from __future__ import annotations

import base64
import hmac
import sys
from hashlib import sha256

import msgspec
import requests
from celery import Celery

# The worker gets the address of Redis as its last argument, after those that Celery reads.
app = Celery("sender", broker=f"redis://127.0.0.1:{sys.argv[-1]}/0")
app.conf.update(task_ignore_result=True, task_acks_late=True, worker_prefetch_multiplier=64)
session = requests.Session()
"""One a process, so that connections are kept alive."""


@app.task(name="deliver", autoretry_for=(requests.RequestException,), retry_backoff=True)
def deliver(url, key, body):
    """One callback."""
    data = body.encode()
    sign = base64.b64encode(hmac.digest(key.encode(), data, sha256)).decode()
    headers = {"Content-Type": "application/json", "Sign": sign}
    session.post(url, data=data, headers=headers, timeout=5, allow_redirects=False).raise_for_status()


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        with open(sys.argv[2], "rb") as file, app.producer_pool.acquire(block=True) as producer:
            for url, key, body in msgspec.json.decode(file.read()):
                deliver.apply_async((url, key, body), producer=producer)
    else:
        quiet = ["--loglevel", "ERROR", "--without-gossip", "--without-mingle", "--quiet"]
        app.worker_main([*quiet[-1:], "worker", "--concurrency", sys.argv[2], *quiet[:-1]])
