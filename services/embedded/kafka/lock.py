"""`python -m services.embedded.kafka.lock` resolves what the broker needs anew and writes `jars.lock`.

For a new version of Kafka: change `KAFKA_VERSION` or `ROOTS`, run this, read the difference, run the tests. It takes
everything from the Maven repository, nothing from this machine's caches.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from jgo.maven import MavenContext

from services.embedded.kafka.jars import KAFKA_VERSION, LOCK_FILE, sha256_of

ROOTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4")
"""Each is resolved by itself: together, the logging library's own list of versions would pull the broker's
dependencies back to older ones."""

NOT_NEEDED = {
    "org.scala-lang:scala-reflect": "macros of the logging library, expanded when Kafka was compiled",
    "com.fasterxml.jackson.dataformat:jackson-dataformat-csv": "no class refers to it",
    "com.fasterxml.jackson.datatype:jackson-datatype-jdk8": "no class refers to it",
    "com.fasterxml.jackson.dataformat:jackson-dataformat-yaml": "the Docker image's start script, logging from YAML",
    "org.yaml:snakeyaml": "the one above",
    "commons-beanutils:commons-beanutils": "validation from XML; Kafka takes one check of host names from the library",
    "commons-collections:commons-collections": "the one above",
    "commons-digester:commons-digester": "the one above",
    "commons-logging:commons-logging": "the one above",
}
"""Left out, and why the broker does without: an eighth of the download. Found by following every reference from class
to class; look again when the version changes."""


def main() -> None:
    """Resolve, download, hash, write."""
    with TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder), local_repos=[], timeout=30)
        pinned: dict[str, str] = {}
        for root in ROOTS:
            inputs, transitive = context.resolver.resolve([context.create_dependency(root)])
            for dependency in [*inputs, *(one for one in transitive if one.scope in ("compile", "runtime"))]:
                artifact = dependency.artifact
                name = f"{artifact.groupId}:{artifact.artifactId}"
                if name not in NOT_NEEDED and name not in pinned:
                    path = artifact.resolve()
                    pinned[name] = f"{sha256_of(path)}  {path.stat().st_size:>8}  {name}:{artifact.version}"
    header = f"# SHA-256, bytes, jar. Made by `python -m services.embedded.kafka.lock` from {' and '.join(ROOTS)}"
    rows = [pinned[name] for name in sorted(pinned)]
    Path(__file__).with_name(LOCK_FILE).write_text("\n".join([header, *rows, ""]), "utf-8")


if __name__ == "__main__":
    main()
