"""A real JupyterLab as `prepare` starts it: both families, login, whole saves, nothing secret in a kernel."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from preflight.lab.identity import PasswordLogin
from preflight.lab.launch import LabSettings, places_of, prepare
from tests.support.jupyter import Lab, Password, notebook, running_lab
from tests.support.wait import until

SECRETS = {
    "JUPYTERLAB_PW": "secret-of-the-lab",
    "AWS_ACCESS_KEY_ID": "secret-aws-id",
    "AWS_SECRET_ACCESS_KEY": "secret-aws-key",
    "AZURE_BLOB_SAS_TOKEN": "secret-sas",
    "GOOGLE_APPLICATION_CREDENTIALS": "secret-google",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("lab"), SECRETS) as running:
        yield running


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_login_over_both_families(lab: Lab, host: str) -> None:
    assert requests.get(lab.url("/api/contents", host), timeout=60).status_code == 403
    client = lab.login(host=host)
    assert client.call("GET", "/api/contents").status_code == 200
    page = client.call("GET", "/lab")
    assert page.status_code == 200


def test_a_save_is_one_whole_file_and_notebooks_keep_their_mode(lab: Lab) -> None:
    client = lab.login()
    assert client.save("a.ipynb", notebook("1 + 1")).status_code == 201
    path = lab.settings.data_dir / "a.ipynb"
    inode = path.stat().st_ino
    path.chmod(0o640)
    assert client.save("a.ipynb", notebook("2 + 2")).status_code == 200
    assert json.loads(path.read_text())["cells"][0]["source"] == ["2 + 2"]
    assert path.stat().st_ino != inode, "written in place, not replaced"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert client.save("note.txt", "text", "file").status_code == 201
    assert [name for name in os.listdir(lab.settings.data_dir) if name.startswith(".~")] == []


def test_an_upload_in_chunks_appears_when_it_is_complete(lab: Lab) -> None:
    client = lab.login()

    def send(chunk: int, text: str) -> requests.Response:
        model = {"type": "file", "format": "text", "content": text, "chunk": chunk}
        return client.call("PUT", "/api/contents/big.bin", json=model)

    path = lab.settings.data_dir / "big.bin"
    assert send(1, "one ").status_code in (200, 201)
    assert not path.exists()
    assert send(2, "two ").status_code in (200, 201)
    assert send(-1, "three").status_code in (200, 201)
    assert path.read_text() == "one two three"
    assert send(2, "orphan").status_code == 409


def test_kernels_and_terminals_hold_none_of_the_secrets(lab: Lab) -> None:
    seen = lab.login().run(
        """
import glob, os
print(dict(os.environ))
for path in glob.glob("/proc/[0-9]*/environ"):
    pid = int(path.split("/")[2])
    try:
        text = open(path, "rb").read()
    except OSError as refused:
        continue
    if b"secret-aws" in text or b"secret-of-the-lab" in text:
        print("LEAK", pid, open(f"/proc/{pid}/cmdline").read())
print("done")
"""
    )
    assert "done" in seen
    assert "secret-" not in seen
    assert "LEAK" not in seen


def test_a_kernel_cannot_read_the_process_that_holds_the_keys(lab: Lab, holder: int) -> None:
    said = lab.login().run(f"""
for name in ("environ", "mem"):
    try:
        open("/proc/{holder}/" + name, "rb").read(1)
        print(name, "readable")
    except PermissionError:
        print(name, "refused")
""")
    assert said.split() == ["environ", "refused", "mem", "refused"]


@pytest.fixture
def holder() -> Iterator[int]:
    """A process like PID 1: it has the keys in its environment and never heard of PR_SET_DUMPABLE."""
    import subprocess

    process = subprocess.Popen(["sleep", "60"], env={**os.environ, **SECRETS})
    yield process.pid
    process.kill()
    process.wait()


def test_no_secret_on_disk_in_clear_nor_on_a_command_line(lab: Lab) -> None:
    for path in lab.settings.state_dir.rglob("*"):
        if path.is_file() and "env" not in path.parts:
            body = path.read_bytes()
            assert b"correct horse" not in body, path
            assert b"secret-" not in body, path
    config = places_of(lab.settings.state_dir).config / "jupyter_server_config.json"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert lab.launch.argv[1:] == ()
    assert [p for p in lab.settings.data_dir.iterdir() if p.name.startswith(".jupyter")] == []


def test_pip_in_a_notebook_belongs_to_the_users_environment(lab: Lab) -> None:
    import sys

    said = lab.login().run("import sys, preflight, pip, shutil; print(sys.prefix, shutil.which('pip'))").split()
    assert said[0] == str(lab.settings.state_dir / "lab" / "env")
    assert said[1] == str(lab.settings.state_dir / "lab" / "env" / "bin" / "pip")
    assert said[0] != sys.prefix


def test_cookies_survive_a_new_node(tmp_path: Path) -> None:
    """Same password and store, nothing else carried over: the browser stays logged in."""
    first = LabSettings(
        data_dir=tmp_path / "d1", state_dir=tmp_path / "s1", password=Password("x"), identity="s3://b/p"
    )
    second = LabSettings(
        data_dir=tmp_path / "d2", state_dir=tmp_path / "s2", password=Password("x"), identity="s3://b/p"
    )
    other = LabSettings(
        data_dir=tmp_path / "d3", state_dir=tmp_path / "s3", password=Password("y"), identity="s3://b/p"
    )
    keys = []
    for settings in (first, second, other):
        prepare(settings, {"HOME": str(tmp_path)})
        keys.append(places_of(settings.state_dir).cookie_secret.read_text())
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]


def test_a_generated_password_opens_the_lab_and_data_is_warned_about(tmp_path: Path) -> None:
    made = prepare(LabSettings(data_dir=tmp_path / "d", state_dir=tmp_path / "s"), {})
    assert made.generated_password is not None
    assert len(made.generated_password) >= 20
    old = prepare(LabSettings(data_dir=tmp_path / "d", state_dir=tmp_path / "s", password=Password("data")), {})
    assert old.generated_password is None
    assert "JUPYTERLAB_PW" in old.warnings[0]


def test_guessers_are_slowed_down_and_do_not_slow_others(tmp_path: Path) -> None:
    with running_lab(tmp_path) as lab:
        client = lab.login()
        statuses: list[int] = []

        def guess() -> None:
            guesser = requests.Session()
            guesser.get(lab.url("/login"), timeout=60)
            for n in range(6):
                answer = guesser.post(
                    lab.url("/login"),
                    data={"password": f"wrong {n}", "_xsrf": guesser.cookies.get("_xsrf", "")},
                    timeout=60,
                )
                statuses.append(answer.status_code)

        threads = [threading.Thread(target=guess) for _ in range(10)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert requests.get(lab.url("/api"), timeout=60).status_code == 200
        for thread in threads:
            thread.join()
        assert set(statuses) == {401, 429}
        assert statuses.count(401) <= 16, "6 an address, and those already waiting"
        assert client.call("GET", "/api/contents").status_code == 200, "who is logged in stays so"


def test_passwords_are_checked_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """With Jupyter's own login ten guessers pushed `/api` from 19 ms to over 1 s."""
    login = PasswordLogin()
    seen: list[str] = []

    def check(typed: str) -> bool:
        seen.append(threading.current_thread().name)
        return False

    monkeypatch.setattr(login, "passwd_check", check)
    assert asyncio.run(login.check(None, "guess")) is None
    assert [name.rpartition("_")[0] for name in seen] == ["login"]


def test_sockets_of_another_origin_are_refused(lab: Lab) -> None:
    client = lab.login()
    kernel = client.call("POST", "/api/kernels", json={"name": "python3"}).json()["id"]
    answer = client.call(
        "GET",
        f"/api/kernels/{kernel}/channels",
        headers={
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "x" * 22 + "==",
            "Sec-WebSocket-Version": "13",
            "Origin": "https://evil.example",
        },
    )
    assert answer.status_code == 403
    client.call("DELETE", f"/api/kernels/{kernel}")
    assert client.session.post(lab.url("/api/kernels"), json={"name": "python3"}, timeout=60).status_code == 403, (
        "no XSRF"
    )
    until(lambda: client.call("GET", "/api/kernels").json() == [], 60)


def test_behind_a_tls_proxy_the_cookie_is_secure(lab: Lab) -> None:
    """The gateway ends TLS, keeps Host, and says so."""
    outside = {"Host": "x.salad.cloud", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    first = requests.get(lab.url("/login"), headers=outside, timeout=60)
    token = first.cookies.get("_xsrf", "") or first.headers["Set-Cookie"].split("_xsrf=")[1].split(";")[0]
    answer = requests.post(
        lab.url("/login"),
        headers=outside | {"Cookie": f"_xsrf={token}", "Origin": "https://x.salad.cloud"},
        data={"password": "correct horse", "_xsrf": token},
        allow_redirects=False,
        timeout=60,
    )
    assert answer.status_code == 302
    assert "Secure" in answer.headers["Set-Cookie"]
    assert "HttpOnly" in answer.headers["Set-Cookie"]


def test_sockets_of_kernels_fit_however_deep_the_state_is(tmp_path: Path) -> None:
    deep = places_of(tmp_path / ("d" * 120)).runtime
    assert len(os.fsencode(deep)) + len("/kernel-") + 36 + len("-ipc-9") <= 107
    assert deep == places_of(tmp_path / ("d" * 120)).runtime, "the same for the same state"
    assert deep != places_of(tmp_path / ("e" * 120)).runtime
