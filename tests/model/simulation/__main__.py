"""`python -m tests.model.simulation SEED [COUNT]`: run lifetimes; a single one that fails shows its trace.

Run it with PYTHONHASHSEED=0: a trace follows from the seed and from nothing else then.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
import time
from collections import Counter

from tests.model.simulation.lifetime import Lifetime
from tests.model.simulation.seeded import SEEDED


def main(argv: list[str]) -> int:
    """Exit code 1 when a guarantee was broken."""
    parser = argparse.ArgumentParser(prog="simulation", description="Lifetimes of the sync engine, from seeds.")
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int, nargs="?", default=1)
    parser.add_argument("--bug", choices=sorted(SEEDED), help="put this bug in, and stop when it is found")
    parser.add_argument("--as-for", choices=sorted(SEEDED), help="the same lifetimes as with --bug, without the bug")
    parser.add_argument("--json", action="store_true", help="one summary as JSON on the last line")
    parser.add_argument("--quietly", action="store_true", help="no traces")
    options = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    started_s = time.monotonic()
    failed: dict[int, str] = {}
    faults: Counter[str] = Counter()
    checked: Counter[str] = Counter()
    digest = hashlib.sha256()
    done = 0
    for seed in range(options.seed, options.seed + options.count):
        named = options.bug or options.as_for
        parts = SEEDED[options.bug]() if options.bug else None
        outcome = Lifetime(seed, parts, SEEDED[named].favours if named else ()).run()
        done += 1
        faults.update(outcome.faults)
        checked.update(outcome.checked)
        digest.update("\n".join(outcome.trace).encode("utf-8", "surrogatepass"))
        if outcome.violations:
            failed[seed] = outcome.violations[0]
            print(f"SEED={seed}: {outcome.violations[0]}")
            if options.count == 1 and not options.quietly:
                print("\n".join([*outcome.trace, *outcome.violations]))
            if options.bug:
                break
    took_s = time.monotonic() - started_s
    print(f"{done} lifetimes, {len(failed)} broken, {took_s:.1f} s", flush=True)
    if options.json:
        summary = {"lifetimes": done, "broken": failed, "faults": faults, "checked": checked, "took_s": took_s}
        print(json.dumps({**summary, "traces": digest.hexdigest()}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
