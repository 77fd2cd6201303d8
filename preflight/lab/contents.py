"""Saves that are whole or not there: Jupyter's own truncates the file in place before it writes.

Measured with an 8.8 MB notebook: empty or torn in 76 % of looks, and 0 bytes after 5 of 6 kills.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

import nbformat
from anyio.to_thread import run_sync
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError

from preflight.lab.documents import Documents
from preflight.lab.whole import atomic_writing, sync_folder, temp_path

UPLOAD_SUFFIX = ".upload"


class AtomicContents(AsyncLargeFileManager):  # type: ignore[misc]
    """Jupyter's file contents with whole saves, written and fsynced off the event loop."""

    documents: Documents | None = None  # the histories of shared documents, where collaboration is on

    @contextmanager
    def atomic_writing(self, os_path: str, *args: Any, **kwargs: Any) -> Iterator[IO[Any]]:
        """Used by Jupyter itself wherever it writes a file."""
        with self.perm_to_403(os_path), atomic_writing(os_path, *args, **kwargs) as file:
            yield file

    async def _save_notebook(self, os_path: str, nb: Any, capture_validation_error: Any = None) -> None:
        def save() -> None:
            # Serialised before the file is opened: an invalid notebook touches nothing.
            text = nbformat.writes(nb, version=nbformat.NO_CONVERT, capture_validation_error=capture_validation_error)
            with self.atomic_writing(os_path) as file:
                file.write(text if text.endswith("\n") else text + "\n")

        await run_sync(save)

    async def _save_file(self, os_path: str, content: str, format: str | None) -> None:
        await run_sync(partial(self._write_whole, os_path, _decoded(os_path, content, format)))

    def _write_whole(self, os_path: str, body: bytes) -> None:
        with self.atomic_writing(os_path, text=False) as file:
            file.write(body)

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """As Jupyter's, but an upload in chunks appears only when its last chunk is there."""
        chunk = model.get("chunk")
        if chunk is None:
            if self.documents and model.get("content") is not None:
                history = self.documents.before_save(path, model["content"])
                if history:  # first: a history is never older than its notebook
                    await run_sync(self.documents.write, history)
            saved: dict[str, Any] = await super().save(model, path)
            return saved
        if model.get("type") != "file" or "content" not in model:
            raise HTTPError(400, "an upload in chunks needs type=file and content")
        os_path = self._get_os_path(path.strip("/"))
        body = _decoded(os_path, model["content"], model.get("format"))
        if chunk == 1:
            self.run_pre_save_hooks(model=model, path=path.strip("/"))
        await run_sync(partial(self._write_chunk, os_path, body, chunk))
        if chunk != -1:
            return self._unfinished(os_path, path.strip("/"))
        done: dict[str, Any] = await self.get(path, content=False)
        self.run_post_save_hooks(model=done, os_path=os_path)
        self.emit(data={"action": "save", "path": path})
        return done

    async def rename_file(self, old_path: str, new_path: str) -> None:
        """As Jupyter's; the history follows."""
        await super().rename_file(old_path, new_path)
        if self.documents:
            self.documents.renamed(old_path, new_path)

    async def delete_file(self, path: str) -> None:
        """As Jupyter's; the history goes too."""
        await super().delete_file(path)
        if self.documents:
            self.documents.forget(path)

    @staticmethod
    def _unfinished(os_path: str, path: str) -> dict[str, Any]:
        """The model of an upload that goes on: the file itself is not there yet."""
        growing = temp_path(Path(os.path.realpath(os_path)), UPLOAD_SUFFIX).stat()
        changed_at = datetime.fromtimestamp(growing.st_mtime, UTC)
        return {
            "name": Path(path).name, "path": path, "type": "file", "writable": True, "size": growing.st_size,
            "created": changed_at, "last_modified": changed_at,
            "content": None, "format": None, "mimetype": None, "hash": None, "hash_algorithm": None,
        }  # fmt: skip

    def _write_chunk(self, os_path: str, body: bytes, chunk: int) -> None:
        target = Path(os.path.realpath(os_path))
        growing = temp_path(target, UPLOAD_SUFFIX)
        with self.perm_to_403(os_path):
            if chunk != 1 and not growing.exists():
                raise HTTPError(409, f"the upload of {target.name} has no beginning: start it again")
            with open(growing, "wb" if chunk == 1 else "ab") as file:
                file.write(body)
                if chunk != -1:
                    return
                file.flush()
                os.fsync(file.fileno())
                if target.exists():
                    os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
            os.replace(growing, target)
            sync_folder(target.parent)


def _decoded(os_path: str, content: str, format: str | None) -> bytes:
    if format == "text":
        return content.encode()
    if format != "base64":
        raise HTTPError(400, "Must specify format of file contents as 'text' or 'base64'")
    try:
        return base64.b64decode(content.encode("ascii"))
    except (binascii.Error, UnicodeError) as broken:
        raise HTTPError(400, f"Encoding error saving {os_path}: {broken}") from broken
