"""The configuration is a pure function: a change of any trait shows up here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from preflight.lab.config import Places, page_config, server_config, setting_overrides
from preflight.lab.environment import lab_environ
from preflight.lab.settings import KernelCredentials, LabSettings

PLACES = Places(
    config=Path("/state/lab/config"),
    share=Path("/state/lab/share"),
    runtime=Path("/state/lab/run"),
    rtc=Path("/state/lab/rtc"),
    cookie_secret=Path("/state/lab/cookie_secret"),
    labextensions=Path("/code/labextensions"),
    sync_state=Path("/state"),
    supervisor_socket=Path("/state/supervisor.sock"),
)
SETTINGS = LabSettings(data_dir=Path("/data"), state_dir=Path("/state"))
GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("default", SETTINGS),
        ("alone", LabSettings(data_dir=Path("/data"), state_dir=Path("/state"), collaboration=False, port=8888)),
        (
            "rewritten_host",
            LabSettings(data_dir=Path("/data"), state_dir=Path("/state"), public_origin="https://lab.example"),
        ),
    ],
)
def test_configuration_is_the_golden_one(name: str, settings: LabSettings) -> None:
    made = {
        "server": server_config(settings, PLACES, hashed_password="argon2:hash", kernel_python=Path("/env/bin/python")),
        "overrides": setting_overrides(settings),
        "page": page_config(settings),
    }
    golden = GOLDEN / f"{name}.json"
    assert made == json.loads(golden.read_text()), f"if the change is meant: write {json.dumps(made)} to {golden}"


def test_no_wildcard_origin_ever() -> None:
    assert (
        "allow_origin"
        not in server_config(SETTINGS, PLACES, hashed_password="x", kernel_python=Path("/p"))["ServerApp"]
    )  # type: ignore[operator]


CONTAINER = {
    "PATH": "/usr/bin",
    "HF_TOKEN": "the user's own",
    "JUPYTERLAB_PW": "pw",
    "JUPYTER_TOKEN": "t",
    "AWS_ACCESS_KEY_ID": "AK",
    "AWS_SECRET_ACCESS_KEY": "SK",
    "AWS_REGION": "eu-west-1",
    "AZURE_BLOB_SAS_TOKEN": "sas",
    "GOOGLE_APPLICATION_CREDENTIALS": "{}",
    "ALIYUN_OSS_ACCESS_KEY_SECRET": "a",
    "HUAWEI_OBS_SECRET_ACCESS_KEY": "h",
    "TENCENT_COS_SECRET_KEY": "t",
    "PREFLIGHT_STORE": "s3://x",
    "USER_AWS_ACCESS_KEY_ID": "scoped",
}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (KernelCredentials.STRIP, {"PATH": "/usr/bin", "HF_TOKEN": "the user's own", "AWS_REGION": "eu-west-1"}),
        (
            KernelCredentials.SCOPED,
            {
                "PATH": "/usr/bin",
                "HF_TOKEN": "the user's own",
                "AWS_REGION": "eu-west-1",
                "AWS_ACCESS_KEY_ID": "scoped",
            },
        ),
        (
            KernelCredentials.INHERIT,
            {name: text for name, text in CONTAINER.items() if name not in ("JUPYTERLAB_PW", "JUPYTER_TOKEN")},
        ),
    ],
)
def test_kernels_see_what_the_policy_says(policy: KernelCredentials, expected: dict[str, str]) -> None:
    assert lab_environ(CONTAINER, policy) == expected
