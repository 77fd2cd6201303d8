"""The tools that people use today, each driven as its own documentation says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import BIN, clean_environ

PEERS = BIN.parents[1] / ".cache" / "peers" / "bin"

# The loop of the images that people rent today, rebuilt from its description: wait for one event, sleep, mirror.
START_SH = """
trap 'kill 0' TERM
while true; do
    inotifywait -rq --event create,delete,modify "$1" >/dev/null
    sleep 5
    "$3" s3 sync "$1" "$2" --delete --only-show-errors
done
"""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where everybody works: one bucket of one server."""

    endpoint: str
    name: str
    key: str
    secret: str

    def environ(self) -> dict[str, str]:
        """Credentials in the form that every tool reads."""
        return clean_environ(
            AWS_ACCESS_KEY_ID=self.key,
            AWS_SECRET_ACCESS_KEY=self.secret,
            AWS_REGION="us-east-1",
            AWS_DEFAULT_REGION="us-east-1",
            AWS_ENDPOINT_URL=self.endpoint,
            S3_ENDPOINT_URL=self.endpoint,
            AWS_REQUEST_CHECKSUM_CALCULATION="when_required",
            RCLONE_CONFIG_S_TYPE="s3",
            RCLONE_CONFIG_S_PROVIDER="Other",
            RCLONE_CONFIG_S_ENV_AUTH="true",
            RCLONE_CONFIG_S_ENDPOINT=self.endpoint,
            RCLONE_CONFIG="/dev/null",
        )


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that pushes a folder into a prefix and pulls it back."""

    name: str

    def push(self, folder: Path, bucket: Bucket, prefix: str) -> tuple[list[str], dict[str, str]]:
        """Command and environment that upload the whole folder."""
        return self._command(folder, bucket, prefix, up=True)

    def pull(self, folder: Path, bucket: Bucket, prefix: str) -> tuple[list[str], dict[str, str]]:
        """Command and environment that download the whole prefix."""
        return self._command(folder, bucket, prefix, up=False)

    def _command(self, folder: Path, bucket: Bucket, prefix: str, *, up: bool) -> tuple[list[str], dict[str, str]]:
        remote = f"s3://{bucket.name}/{prefix}/"
        ends = (f"{folder}/", remote) if up else (remote, f"{folder}/")
        if self.name == "s5cmd":
            source = ends[0] if up else f"{ends[0]}*"
            return [str(PEERS / "s5cmd"), "--log", "error", "cp", source, ends[1]], bucket.environ()
        if self.name == "rclone":
            ends = tuple(e.replace("s3://", "s:") for e in ends)  # type: ignore[assignment]
            flags = ["--transfers", "32", "--checkers", "32", "--s3-no-check-bucket"]
            return [str(PEERS / "rclone"), "copy", *ends, *flags], bucket.environ()
        if self.name == "aws s3 sync":
            return [str(PEERS / "aws"), "s3", "sync", *ends, "--only-show-errors"], bucket.environ()
        return self._ours(folder, bucket, prefix, up=up)

    def _ours(self, folder: Path, bucket: Bucket, prefix: str, *, up: bool) -> tuple[list[str], dict[str, str]]:
        return [str(BIN / "preflight-sync"), "flush" if up else "pull"], ours(folder, bucket, prefix)


def ours(folder: Path, bucket: Bucket, prefix: str, **extra: str) -> dict[str, str]:
    """The environment of our own commands, with the journal beside the folder."""
    return {
        **clean_environ(
            AWS_ACCESS_KEY_ID=bucket.key,
            AWS_SECRET_ACCESS_KEY=bucket.secret,
            AWS_REGION="us-east-1",
            AWS_ENDPOINT_URL=bucket.endpoint,
            AWS_S3_BUCKET_FOLDER=f"{bucket.name}/{prefix}",
            PREFLIGHT_DATA_DIR=str(folder),
            PREFLIGHT_STATE_DIR=f"{folder}.state",
        ),
        **extra,
    }


def file_store(folder: Path, remote: Path) -> dict[str, str]:
    """The environment of our own commands with a folder for a bucket."""
    return clean_environ(
        PREFLIGHT_STORE=f"file://{remote}", PREFLIGHT_DATA_DIR=str(folder), PREFLIGHT_STATE_DIR=f"{folder}.state"
    )


OURS = Tool("preflight-sync")
BULK_TOOLS: tuple[Tool, ...] = (OURS, Tool("s5cmd"), Tool("rclone"), Tool("aws s3 sync"))


def loop_command(folder: Path, bucket: Bucket, prefix: str) -> tuple[list[str], Mapping[str, str]]:
    """The start.sh loop as a process."""
    remote = f"s3://{bucket.name}/{prefix}"
    return ["bash", "-c", START_SH, "loop", str(folder), remote, str(PEERS / "aws")], bucket.environ()
