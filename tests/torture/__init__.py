"""Torture with real processes, real disks and real servers; short in `make test`, as long as you like in `make torture`."""
