"""From settings to a JupyterLab that can start: files written, environment scrubbed, no secret on a command line."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from preflight.errors import PreflightError
from preflight.lab import kernels
from preflight.lab.config import Places, page_config, server_config, setting_overrides, startup_script
from preflight.lab.environment import lab_environ
from preflight.lab.settings import KernelCredentials, LabSettings, Secret
from preflight.lodging import Lodging, clear_abandoned
from preflight.processes import console_script

__all__ = ["KernelCredentials", "LabLaunch", "LabSettings", "Secret", "places_of", "prepare"]

# ipykernel makes "<runtime>/kernel-<uuid>-ipc-1"; a unix socket's path ends at 107 bytes.
LONGEST_RUNTIME = 55
HASH_DEADLINE_S = 30.0  # 0.3 s when idle; nodes start busy
HERE = Path(__file__).resolve().parent
TMP = Path("/tmp")


@dataclass(frozen=True, slots=True)
class LabLaunch:
    """What to start, and what to tell people. `cwd` is not the data folder: nothing of the user's is imported."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    url: str
    generated_password: str | None
    warnings: tuple[str, ...]
    lodging: Lodging | None = None  # in /tmp, where the state folder's name is too long for sockets


def prefix() -> str:
    """Of the names of runtime folders in /tmp."""
    return f"preflight-lab-{os.getuid()}-"


def places_of(state_dir: Path) -> Places:
    """Where everything of JupyterLab's goes; the same for the same state folder."""
    lab = state_dir.absolute() / "lab"
    runtime = lab / "run"
    if len(os.fsencode(runtime)) > LONGEST_RUNTIME:
        digest = hashlib.sha256(os.fsencode(lab)).hexdigest()[:12]
        runtime = TMP / f"{prefix()}{digest}"
    return Places(
        config=lab / "config",
        share=lab / "share",
        runtime=runtime,
        rtc=lab / "rtc",
        cookie_secret=lab / "cookie_secret",
        labextensions=HERE / "labextensions",
        sync_state=state_dir.absolute(),
        supervisor_socket=state_dir.absolute() / "supervisor.sock",
    )


def prepare(settings: LabSettings, environ: Mapping[str, str]) -> LabLaunch:
    """Write the configuration (0600, outside the data folder) and say how to start JupyterLab.

    Takes about 0.5 s (the password is hashed in a child of its own). `environ` is the container's whole
    environment; the result's is what kernels and terminals may see. Raises PreflightError when a folder cannot be
    made safely or hashing fails.
    """
    places = places_of(settings.state_dir)
    warnings: list[str] = []
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    for folder in (places.config, places.config / "labconfig", places.share, places.runtime, places.rtc):
        _private(folder)
    lodging = None
    if places.runtime.parent == TMP:
        clear_abandoned(TMP, prefix())
        lodging = Lodging.take(places.runtime)

    generated = None
    if settings.password is None:
        generated = password = secrets.token_urlsafe(18)
    else:
        password = settings.password.reveal()
        if password == "data":
            warnings.append('JUPYTERLAB_PW is "data", the password of all old images: anybody may try it. Set another.')
    hashed, cookie_key = _hash(password, salt="" if generated else settings.identity)
    if generated is None:
        _write_private(places.cookie_secret, cookie_key)
    elif not places.cookie_secret.exists():
        _write_private(places.cookie_secret, secrets.token_hex(32))

    # What signs trusted notebooks: the same on every node, as the cookie's key, and never the same text.
    signing = hmac.new(places.cookie_secret.read_bytes(), b"notebook signatures", hashlib.sha512).hexdigest()
    _write_private(places.share / "notebook_secret", signing)

    python = kernels.register(
        places.share / "kernels", settings.kernel_python, settings.state_dir.absolute() / "lab" / "env"
    )
    config = server_config(settings, places, hashed_password=hashed, kernel_python=python)
    _write_private(places.config / "jupyter_server_config.json", json.dumps(config, indent=1, sort_keys=True))
    _write_private(places.config / "jupyter_server_config.py", startup_script(settings, places))
    labconfig = places.config / "labconfig"
    _write_private(labconfig / "default_setting_overrides.json", json.dumps(setting_overrides(settings), indent=1))
    _write_private(labconfig / "page_config.json", json.dumps(page_config(settings), indent=1))

    env = lab_environ(environ, settings.kernel_credentials)
    user_share = Path(env.get("HOME", "/root")) / ".local" / "share" / "jupyter"  # kernelspecs that users installed
    # First of all ours: inside a virtual environment Jupyter prefers the environment's own kernels to JUPYTER_DATA_DIR.
    env["JUPYTER_PATH"] = os.pathsep.join(
        filter(None, [str(places.share), env.get("JUPYTER_PATH", ""), str(user_share)])
    )
    env["JUPYTER_CONFIG_DIR"] = str(places.config)
    env["JUPYTER_CONFIG_PATH"] = str(places.config)
    env["JUPYTER_DATA_DIR"] = str(places.share)
    env["JUPYTER_RUNTIME_DIR"] = str(places.runtime)
    env["PREFLIGHT_STATE_DIR"] = str(places.sync_state)  # where the public Python API looks
    env.setdefault("SHELL", "/bin/bash")
    return LabLaunch(
        argv=(console_script("preflight-jupyter-lab"),),
        env=env,
        cwd=places.config,
        url=f"http://localhost:{settings.port}/lab",
        generated_password=generated,
        warnings=tuple(warnings),
        lodging=lodging,
    )


def _private(folder: Path) -> None:
    """Make the folder 0700 and ours. /tmp is shared: a folder that another user made there is refused."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    seen = folder.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid():
        raise PreflightError(f"{folder} belongs to somebody else; set PREFLIGHT_STATE_DIR to another folder")
    folder.chmod(0o700)


def _write_private(path: Path, text: str) -> None:
    temp = path.with_name(f".{path.name}.new")
    temp.unlink(missing_ok=True)
    with open(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    os.replace(temp, path)


def _hash(password: str, *, salt: str) -> tuple[str, str]:
    """(argon2 hash, cookie key) from a short-lived child: the text crosses a pipe, never a command line."""
    command = [sys.executable, "-I", "-m", "preflight.lab.hashing"]
    question = json.dumps({"password": password, "salt": salt})
    try:
        done = subprocess.run(
            command, input=question, capture_output=True, text=True, timeout=HASH_DEADLINE_S, check=True, env={}
        )
        answer = json.loads(done.stdout)
        return str(answer["hash"]), str(answer["cookie_key"])
    except (subprocess.SubprocessError, OSError, ValueError, KeyError) as failed:
        # The error's text may hold the child's input: say only its kind.
        raise PreflightError(f"the password could not be hashed ({type(failed).__name__})") from None
