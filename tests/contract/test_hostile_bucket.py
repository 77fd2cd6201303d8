"""A bucket full of keys that no folder can hold: restored what can be, nothing outside, nothing deleted, all named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.test_round_trip import Node, saved_after
from tests.support.moto import S3Server

pytestmark = pytest.mark.timeout(600)
HOSTILE = [
    "../outside.txt",
    "a/../../outside2.txt",
    "/absolute.txt",
    "a//double.txt",
    "./dot.txt",
    "n" * 300,
    "blue",
    "blue/inside.txt",
    "marker/",
    "control\x01char",
    "back\\slash.txt",
]
PLAIN = {"fine.txt": b"fine", "sub/fine.txt": b"fine too"}


def test_hostile_keys_harm_nothing(moto_server: S3Server, tmp_path: Path) -> None:
    client = moto_server.client()
    prefix = "hostile/user"
    for key in HOSTILE:
        client.put_object(Bucket="contract", Key=f"{prefix}/{key}", Body=b"" if key.endswith("/") else b"hostile")
    for key, body in PLAIN.items():
        client.put_object(Bucket="contract", Key=f"{prefix}/{key}", Body=body)

    def keys() -> set[str]:
        found = client.list_objects_v2(Bucket="contract", Prefix=f"{prefix}/")["Contents"]
        return {item["Key"][len(prefix) + 1 :] for item in found}

    before = {key for key in keys() if not key.startswith(".preflight/")}
    assert before == {*HOSTILE, *PLAIN}
    node = Node(tmp_path / "node", moto_server.environ(f"contract/{prefix}"))
    with node.running() as child:
        status = node.reaches(lambda status: status.restored)
        tree = node.tree()
        assert {name: tree[name] for name in PLAIN} == PLAIN
        assert tree["blue/inside.txt"] == b"hostile" or tree["blue"] == b"hostile"
        (node.data / "new.txt").write_bytes(b"new")
        status = node.reaches(lambda status: status.files >= 3 and saved_after(0)(status))
        child.terminate()
        assert child.wait(timeout=60) == 0
    after = {key for key in keys() if not key.startswith(".preflight/")}
    assert after == before | {"new.txt"}
    told = " ".join(str(problem["path"]) for problem in status.problems)
    for key in ("../outside.txt", "/absolute.txt", "a//double.txt", "./dot.txt", "n" * 300):
        assert key in told, key
    outside = {path.name for path in tmp_path.rglob("*") if path.is_file()} & {"outside.txt", "outside2.txt"}
    assert outside == set()
    assert not Path("/absolute.txt").exists()
