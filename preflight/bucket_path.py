"""The real data path of this round's checks: the user's store, opened once, and what its errors prove.

Nothing here retries: a check must see what happened, not what happened after three more attempts.
"""

from __future__ import annotations

from preflight.checks import Broken, Context, NotExpected
from preflight.endpoint import endpoint_of
from preflight.errors import PreflightError, Unmeasured
from preflight.model import Blame
from sync.errors import Corrupt, Denied, DiskFull, Misconfigured, NotFound, SyncError, Throttled, Transient, Unsupported
from sync.stores import Store
from sync.stores.config import StoreConfig

PATIENCE_S = 0.5  # for what an earlier check of the lane began: it is either done or hangs
FOLDER = ".preflight/checks/"  # below the prefix; removed again by the checks themselves


def primary(context: Context) -> StoreConfig:
    """The store that is pulled from and pushed to. Raises NotExpected when none is configured."""
    if not context.stores:
        raise NotExpected("no bucket is configured")
    return context.stores[0]


def remote(context: Context) -> StoreConfig:
    """The primary store when it is across a network. Raises NotExpected for a folder on this machine."""
    config = primary(context)
    if config.provider == "file":
        raise NotExpected("the store is a folder on this machine")
    return config


def opened(context: Context, config: StoreConfig) -> Store:
    """The store, opened once a round and closed by the round's end."""

    def make() -> Store:
        if context.open_store is not None:
            return context.open_store(config)
        from sync.stores.opening import open_store

        try:
            return open_store(config)
        except SyncError as error:
            raise fault(error, config, "open the store") from error

    return context.shared.once(f"store {identity(config)}", make, patience_s=PATIENCE_S)


def identity(config: StoreConfig) -> str:
    """What tells two stores apart: the URL names no server, and a mirror may have the same bucket elsewhere."""
    return f"{config.url} {config.endpoint or ''} {config.region or ''}"


def fault(error: SyncError, config: StoreConfig, doing: str) -> PreflightError:
    """What an error of a store proves, and about whom. Never the node: another one would see the same."""
    why = f"could not {doing} at {config.url}: {error.what}"
    text = f"{error.what} {error.hint}".lower()
    if "skew" in text or "clock" in text:
        return Broken(why, blame=Blame.PLATFORM, advice="this machine's clock is wrong: restart the container")
    if isinstance(error, Denied):
        advice = error.hint or f"check the key and its policy ({config.variable_of('secret')})"
        return Broken(why, blame=Blame.ACCOUNT, advice=advice)
    if isinstance(error, Misconfigured | NotFound):
        return Broken(why, blame=Blame.ACCOUNT, advice=error.hint or f"check {config.variable}")
    if isinstance(error, Throttled):
        return Unmeasured(f"{why} (the provider asks for a slower pace)")
    if isinstance(error, Unsupported):
        return Broken(why, blame=Blame.ENDPOINT, advice=error.hint or "this provider lacks what saving needs")
    if isinstance(error, DiskFull):
        return Broken(why, blame=Blame.PLATFORM, advice=error.hint or "give the store more room")
    if isinstance(error, Transient | Corrupt):
        endpoint = endpoint_of(config)
        place = f" ({endpoint.address})" if endpoint else ""
        advice = f"the storage service{place} does not answer well; the node is kept and saving goes on trying"
        return Broken(why, blame=Blame.ENDPOINT, advice=advice)
    return Unmeasured(why)
