"""Print one digest of everything that the bundle is built from."""

import hashlib
from pathlib import Path

HERE = Path(__file__).resolve().parent


def digest() -> str:
    """Of the sources, the styles, the locked packages and the compiler's options."""
    files = [*sorted((HERE / "src").glob("*.ts")), *sorted((HERE / "style").iterdir())]
    files += [HERE / name for name in ("package.json", "package-lock.json", "tsconfig.json")]
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return total.hexdigest()


if __name__ == "__main__":
    print(digest())  # noqa: T201
