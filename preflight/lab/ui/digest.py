"""Print two digests: of everything that the bundle is built from, and of the bundle."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUNDLE = HERE.parent / "labextensions" / "preflight-lab"


def sources() -> str:
    """Of the sources, the styles, the locked packages and the compiler's options."""
    files = [*sorted((HERE / "src").glob("*.ts")), *sorted((HERE / "style").iterdir())]
    return _digest([*files, *(HERE / name for name in ("package.json", "package-lock.json", "tsconfig.json"))])


def bundle() -> str:
    """Of what the build wrote; the same whoever builds it, and wherever."""
    return _digest([BUNDLE / "package.json", *sorted((BUNDLE / "static").iterdir())])


def _digest(files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return total.hexdigest()


if __name__ == "__main__":
    print(sources(), bundle())  # noqa: T201
