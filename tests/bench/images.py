"""The images: how soon a container answers, what its layers weigh in a registry, how long its own tests take."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.peers import Bucket
from tests.bench.rows import Row, median
from tests.support.containers import PODMAN, container
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/preflight-lab"
BUDGETS_GB = {"cpu": 1.2, "pytorch-gpu": 3.9, "tensorflow-gpu": 4.3}
SIZES = ROOT / ".cache" / "image-sizes.json"
STARTS = 9
FLUSH_S = 30.0  # the deadline of a container's last save, unless it is set otherwise


def image_rows(bucket: Bucket, *, quick: bool) -> Sequence[Row]:
    """Every row. `make images-test` builds the plain image first; flavours that nobody built are told, not measured.

    The short form leaves the GPU images' layers alone: to compress one takes a quarter of an hour.
    """
    sizes = [_left_alone(name) if quick and name != "cpu" else _size(name) for name in BUDGETS_GB]
    return [_tests(), *_starts(bucket), *sizes]


def _left_alone(flavour: str) -> Row:
    note = "measured by hand: images/README.md, docs/decisions/0703"
    return Row(f"compressed size, {flavour}", f"<= {BUDGETS_GB[flavour]} GB", "not in the short form", note=note)


def _version() -> str:
    found = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def _tests() -> Row:
    begun = time.monotonic()
    done = subprocess.run(["make", "images-test"], cwd=ROOT, capture_output=True, text=True)
    took_s = time.monotonic() - begun
    if done.returncode != 0:
        raise RuntimeError(f"make images-test failed:\n{done.stdout[-3000:]}\n{done.stderr[-1000:]}")
    passed = re.findall(r"(\d+) passed", done.stdout)
    note = f"{passed[-1]} tests passed" + ("" if "COMMIT" in done.stdout else "; the image was there from before")
    return Row("make images-test", "<= 6 min", f"{took_s / 60:.1f} min", met=took_s <= 360.0, note=note)


def _starts(bucket: Bucket) -> Sequence[Row]:
    answered_s, ready_s, stopped_s = [], [], []
    for number in range(STARTS):
        environ = {
            "AWS_S3_BUCKET_FOLDER": f"s3://{bucket.name}/image-start-{number}",
            "AWS_ENDPOINT_URL": bucket.endpoint,
            "AWS_ACCESS_KEY_ID": bucket.key,
            "AWS_SECRET_ACCESS_KEY": bucket.secret,
            "AWS_REGION": "us-east-1",
            "JUPYTERLAB_PW": "correct horse battery",
            "PREFLIGHT_EXPECT_GPU": "0",
        }
        with container(f"{IMAGE}:{_version()}-base", environ) as started:
            until(lambda: started.probe("/livez") == 200, 60, started.log)
            answered_s.append(started.age_s)
            ready_s.append(started.wait_ready(180))
            code, took_s = started.stop()
            if code != 0:
                raise RuntimeError(f"a container ended with {code}:\n{started.log()}")
            stopped_s.append(took_s)
    return [
        _within("image start -> first probe answer", answered_s, 2.0, "<= 2 s"),
        _within("image start -> JupyterLab, empty bucket", ready_s, 12.0, "<= 12 s"),
        _within("SIGTERM -> exit 0, everything saved", stopped_s, FLUSH_S, "<= the flush deadline (30 s)"),
    ]


def _within(measure: str, times_s: Sequence[float], limit_s: float, goal: str) -> Row:
    ours = f"median {median(times_s):.2f} s, worst {max(times_s):.2f} s"
    return Row(measure, goal, ours, met=max(times_s) <= limit_s, note=f"{len(times_s)} containers of `base`")


def _size(flavour: str) -> Row:
    measure, budget_gb = f"compressed size, {flavour}", BUDGETS_GB[flavour]
    name = f"{IMAGE}:{_version()}-{flavour}"
    if subprocess.run([*PODMAN, "image", "exists", name]).returncode != 0:
        return Row(measure, f"<= {budget_gb} GB", f"not built here: make images FLAVOURS={flavour}")
    kind = "gzip" if flavour == "cpu" else "zstd"  # as they are published: docs/decisions/0705
    size_gb, day = _compressed(flavour, name, kind)
    note = f"published with {kind} layers, compressed {day}"
    return Row(measure, f"<= {budget_gb} GB", f"{kind} {size_gb:.2f} GB", met=size_gb <= budget_gb, note=note)


def _compressed(flavour: str, name: str, kind: str) -> tuple[float, str]:
    """Gigabytes, and the day of their measurement: an image of one ID is compressed once, for that takes long."""
    shown = subprocess.run([*PODMAN, "image", "inspect", "--format={{.Id}}", name], check=True, capture_output=True)
    known: dict[str, tuple[float, str]] = json.loads(SIZES.read_text()) if SIZES.exists() else {}
    this = f"{shown.stdout.decode().strip()} {kind}"
    if this not in known:
        environ = {**os.environ, "FORMATS": kind}
        done = subprocess.run(
            ["images/size", flavour], cwd=ROOT, env=environ, check=True, capture_output=True, text=True
        )
        found = re.search(rf"^  {kind} ([\d.]+) GB", done.stdout, re.MULTILINE)
        assert found is not None, done.stdout
        known[this] = float(found[1]), time.strftime("%Y-%m-%d")
        SIZES.parent.mkdir(exist_ok=True)
        SIZES.write_text(json.dumps(known, indent=1))
    return known[this]
