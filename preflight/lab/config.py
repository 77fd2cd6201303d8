"""JupyterLab's configuration as a pure function of the settings.

Every trait here answers a measured defect of the defaults; `docs/lab.md` says which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from preflight.lab.documents import FOLDER
from preflight.lab.settings import KernelCredentials, LabSettings

SIGNATURES = "nbsignatures.db"  # where Jupyter keeps them in its data folder


@dataclass(frozen=True, slots=True)
class Places:
    """Where JupyterLab keeps what is not the user's: all of it outside the data folder."""

    config: Path  # JUPYTER_CONFIG_DIR: server config, user settings, workspaces
    share: Path  # JUPYTER_DATA_DIR: signatures, kernelspecs
    runtime: Path  # connection files and ipc sockets: a short path (sockets end at 107 bytes)
    rtc: Path  # document store, file ids, sessions
    cookie_secret: Path
    labextensions: Path
    sync_state: Path  # the state folder of sync
    supervisor_socket: Path


def server_config(
    settings: LabSettings, places: Places, *, hashed_password: str, kernel_python: Path
) -> dict[str, object]:
    """The content of `jupyter_server_config.json`. Holds the password's hash, so the file is 0600."""
    server: dict[str, object] = {
        "ip": "",  # binds 0.0.0.0 and [::]; "::" alone would be IPv6 only
        "port": settings.port,
        "port_retries": 0,  # another port would never be reached
        "open_browser": False,
        "allow_root": True,
        "allow_remote_access": True,
        "quit_button": False,
        "root_dir": str(settings.data_dir),
        "cookie_secret_file": str(places.cookie_secret),
        "trust_xheaders": True,  # behind TLS the cookie becomes Secure
        "allow_unauthenticated_access": False,
        "terminado_settings": {"shell_command": ["/bin/bash"]},
        # Milliseconds for kernels and terminals; seconds for documents, awareness and events.
        "tornado_settings": {"ws_ping_interval": settings.ping_every_s * 1000},
        "websocket_ping_interval": settings.ping_every_s,
        "websocket_ping_timeout": settings.ping_every_s,
        "contents_manager_class": "preflight.lab.contents.AtomicContents",
        "identity_provider_class": "preflight.lab.identity.PasswordLogin",
        "jpserver_extensions": {
            "preflight.lab.extension": True,
            # These two only work as a pair: without documents, nbmodel runs cells and saves nothing.
            "jupyter_server_nbmodel": settings.collaboration,
        },
    }
    if settings.public_origin:
        server["allow_origin"] = settings.public_origin  # exactly this one, never a wildcard
    return {
        "ServerApp": server,
        "IdentityProvider": {"token": ""},
        "PasswordIdentityProvider": {
            "hashed_password": hashed_password,
            "password_required": True,
            "allow_password_change": False,  # else the login page may set another one
        },
        # A trash under HOME dies with the node; deleted files come back from the bucket's trash instead.
        "FileContentsManager": {"delete_to_trash": False, "always_delete_dir": True},
        "KernelManager": {"transport": "ipc"},
        "LanguageServerManager": {"autodetect": False},  # looks for twenty programs that are not here
        "LabApp": {
            "extra_labextensions_path": [str(places.labextensions)],
            "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
            "news_url": None,
            # Layout and preferences are the user's: they travel with the folder.
            "user_settings_dir": str(settings.data_dir / FOLDER / "settings"),
            "workspaces_dir": str(settings.data_dir / FOLDER / "workspaces"),
            "extension_manager": "readonly",  # the default asks a package registry
        },
        "YDocExtension": {
            "disable_rtc": not settings.collaboration,
            # Never: a document that is dropped after its last tab (60 s by default) takes no more output of a long
            # cell, and nothing would be saved any more.
            "document_cleanup_delay": None,
            # Travels with the folder: a tab of the node before is known by it.
            "session_store_path": str(settings.data_dir / FOLDER / "sessions.json"),
        },
        "SQLiteYStore": {"db_path": str(places.rtc / "ystore.db")},
        "BaseFileIdManager": {"db_path": str(places.rtc / "file_ids.db")},
        "ArbitraryFileIdManager": {"db_path": str(places.rtc / "file_ids.db")},
        "LocalFileIdManager": {"db_path": str(places.rtc / "file_ids.db")},
        "PreflightLab": {
            "state_dir": str(places.sync_state),
            "supervisor_socket": str(places.supervisor_socket),
            "probe_port": settings.probe_port,
            "collaboration": settings.collaboration,
            "kernel_python": str(kernel_python),
            "folder_requirements": settings.folder_requirements,
            "has_store": bool(settings.identity),
            # What a browser kept for one folder must never come into another that is served at the same address.
            "folder": hashlib.sha256((settings.identity or str(settings.data_dir)).encode()).hexdigest()[:16],
            "rtc": str(places.rtc),
            "signatures": str(places.share / SIGNATURES),
            "confine": settings.kernel_credentials is not KernelCredentials.INHERIT,
        },
    }


def setting_overrides(settings: LabSettings) -> dict[str, object]:
    """Defaults of the front end: saves often, asks nothing, fetches nothing."""
    return {
        "@jupyterlab/apputils-extension:notification": {
            "fetchNews": "false",
            "checkForUpdates": False,
            "doNotDisturbMode": False,
        },
        "@jupyterlab/docmanager-extension:plugin": {"autosaveInterval": settings.autosave_s},
        "@jupyterlab/extensionmanager-extension:plugin": {"enabled": False},  # it asks a registry
    }


def page_config(settings: LabSettings) -> dict[str, object]:
    """`labconfig/page_config.json`: front-end extensions whose server half is off must be off too."""
    disabled: Mapping[str, bool] = {
        "@jupyterlab/extensionmanager-extension": True,
        "@datalayer/jupyter-server-nbmodel": not settings.collaboration,
        "@jupyter/collaboration-extension": not settings.collaboration,
    }
    return {"disabledExtensions": {name: off for name, off in disabled.items() if off}}


def startup_script(settings: LabSettings, places: Places) -> str:
    """`jupyter_server_config.py`: runs in JupyterLab's process before any extension opens a database."""
    data_dir, database = str(settings.data_dir), str(places.share / SIGNATURES)
    script = "from pathlib import Path\n\nfrom preflight.lab import signatures\n\n"
    script += f"signatures.bring(Path({data_dir!r}), Path({database!r}))\n"
    if settings.collaboration:
        script += f"\nfrom preflight.lab.generation import at_start\n\nat_start({data_dir!r}, {str(places.rtc)!r})\n"
    return script
