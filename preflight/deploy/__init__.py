"""From a shell to a running node: requests to the platforms' public APIs.

Builders (`salad`, `gongji`, `variables`, `near`) are pure: they turn an order into the JSON that is sent. `wire` is the
only module that speaks HTTP, `cli` the only one that reads the shell.
"""
