"""Torture with real processes, disks and servers: short in `make test`, as long as you like in `make torture`."""
