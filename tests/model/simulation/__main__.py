"""`python -m tests.model.simulation [SEED] [COUNT]`: run lifetimes; print the trace of one that fails."""

from __future__ import annotations

import logging
import sys
import time

from tests.model.simulation.lifetime import Lifetime


def main(argv: list[str]) -> int:
    """Exit code 1 when a guarantee was broken."""
    first, count = int(argv[0]) if argv else 1, int(argv[1]) if len(argv) > 1 else 1
    logging.disable(logging.CRITICAL)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    started = time.monotonic()
    failed = 0
    for seed in range(first, first + count):
        outcome = Lifetime(seed).run()
        if outcome.violations:
            failed += 1
            print(f"seed {seed}: {len(outcome.violations)}: {outcome.violations[0]}")
            if count == 1:
                print("\n".join(outcome.trace))
                print("\n".join(outcome.violations))
    print(f"{count} lifetimes, {failed} failed, {time.monotonic() - started:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
