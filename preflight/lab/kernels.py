"""Kernels run in the user's environment: `pip install` in a notebook can break a notebook, never JupyterLab."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import venv
from pathlib import Path

LINK = "preflight-toolkit.pth"


def register(kernels_dir: Path, kernel_python: Path | None, own_env: Path) -> Path:
    """Write the kernelspec `python3` and return the interpreter that it starts.

    Without PREFLIGHT_KERNEL_PYTHON an environment is made at `own_env`: it sees all packages of the toolkit, and what
    is installed in it comes first and stays in it. The kernelspec `preflight`
    has the toolkit's packages whatever `python3` is.
    """
    overlay = overlay_env(own_env)
    python = kernel_python or overlay
    write_spec(kernels_dir / "python3", python, "Python 3")
    write_spec(kernels_dir / "preflight", overlay, "Python 3 (Preflight)")  # what the shipped notebooks ask for
    return python


def overlay_env(folder: Path) -> Path:
    """An environment of the user's own on top of the toolkit's packages; its interpreter. Made once, in about 0.1 s."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
        pip = folder / "bin" / "pip"
        pip.write_text(f"#!{python}\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n")
        pip.chmod(0o755)
    lib = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    # addsitedir, not a bare path: an editable install of the toolkit is itself a .pth file.
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    lib.mkdir(parents=True, exist_ok=True)
    (lib / LINK).write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in sorted(paths)))
    return python


def write_spec(folder: Path, python: Path, name: str) -> None:
    """One kernelspec. PATH starts with the interpreter's folder, so that `!pip` is the kernel's own pip."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": name,
        "language": "python",
        "metadata": {"debugger": True},
        "env": {"PATH": f"{python.parent}{os.pathsep}${{PATH}}", "VIRTUAL_ENV": str(python.parent.parent)},
        "interrupt_mode": "signal",
    }
    temp = folder / ".kernel.json.new"
    temp.write_text(json.dumps(spec, indent=1))
    os.replace(temp, folder / "kernel.json")
