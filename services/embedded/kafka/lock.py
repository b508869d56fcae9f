"""`python -m services.embedded.kafka.lock` resolves the broker's dependencies anew and writes `jars.lock`."""

from __future__ import annotations

from pathlib import Path

import jgo

from services.embedded.kafka.jars import ROOTS, sha256_of


def main() -> None:
    """Resolve, download, hash, write."""
    pinned: dict[str, str] = {}
    for root in ROOTS:
        for artifact in jgo.resolve(root):
            name = f"{artifact.groupId}:{artifact.artifactId}"
            if any(known.startswith(f"{name}:") for known in pinned):
                continue
            path = artifact.resolve()
            assert path is not None  # noqa: S101
            pinned[f"{name}:{artifact.version}"] = sha256_of(Path(path))
    lines = [f"{sha256}  {coordinate}" for coordinate, sha256 in sorted(pinned.items())]
    header = f"# Made by `python -m services.embedded.kafka.lock` from {' and '.join(ROOTS)}"
    Path(__file__).with_name("jars.lock").write_text("\n".join([header, *lines, ""]), "utf-8")


if __name__ == "__main__":
    main()
