"""When a changed file may be read: pure arithmetic over what was observed of it."""

from __future__ import annotations

import posixpath

SMALL_BYTES = 8 * 1024 * 1024
QUIET_CLOSED_S = 0.05  # after its writer closed it
QUIET_SMALL_S = 0.15  # without having seen it closed
QUIET_LARGE_S = 2.0  # torch.save and chunked uploads pause for less
STALE_SMALL_S = 2.0  # a small file that never rests is saved all the same
STALE_LARGE_S = 900.0  # a checkpoint takes minutes to write; what never settles goes up every quarter of an hour
TWIN_S = 60.0  # JupyterLab holds a `.~` twin for the seconds of one save; an older one is debris of a crash
AT_REST_S = 1.0  # what looks the same for so long is not in the middle of a save
COST_BYTES_PER_S = 1024 * 1024  # a file that changes all the time is sent at this rate at most, on average
PROMPT_BYTES = 1024 * 1024  # up to this a save is never more than a second from the bucket, on a line of 38 Mbit/s:
PROMPT_BYTES_PER_S = 4 * 1024 * 1024  # ... so it waits a quarter of a second at most for the one before it


def due_at(
    *,
    size: int,
    first_s: float,
    still_since_s: float,
    was_closed: bool,
    has_twin: bool,
    last_sent_s: float | None,
) -> float:
    """The moment (monotonic seconds) from which the file may go up.

    `first_s`: when it was first seen changed; `still_since_s`: since when it looks the same;
    `last_sent_s`: when it last went up, None if not lately.
    """
    if has_twin:
        return first_s + TWIN_S
    if size <= SMALL_BYTES:
        due = min(still_since_s + (QUIET_CLOSED_S if was_closed else QUIET_SMALL_S), first_s + STALE_SMALL_S)
    else:
        due = min(still_since_s + QUIET_LARGE_S, first_s + STALE_LARGE_S)
    if last_sent_s is not None:
        due = max(due, last_sent_s + size / (COST_BYTES_PER_S if size > PROMPT_BYTES else PROMPT_BYTES_PER_S))
    return due


def rank(path: str, size: int) -> tuple[int, int]:
    """Order of sending: notebooks and small text first, then by size; git's objects before what refers to them."""
    if is_git_object(path):
        return (0, size)
    if git_folder(path) is not None:
        return (1, size)
    ext = posixpath.splitext(path)[1]
    if ext in (".ipynb", ".py", ".md", ".R", ".jl") and size <= SMALL_BYTES:
        return (0, size)
    return (0 if size <= 64 * 1024 else 1 if size <= SMALL_BYTES else 2, size)


def git_folder(path: str) -> str | None:
    """The `.git` directory that `path` lies in, or None."""
    if path.startswith(".git/"):
        return ".git"
    at = path.find("/.git/")
    return None if at < 0 else path[: at + 5]


def is_git_object(path: str) -> bool:
    """Whether `path` is content that refs point at (and may go up before them)."""
    folder = git_folder(path)
    return folder is not None and path.startswith(folder + "/objects/")
