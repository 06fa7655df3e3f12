#!/usr/bin/env python3
"""Injects faults into every command and says what does not end as it has to.

  run.py ci               a part that takes two minutes at most
  run.py all              every call, every error, kills, disks, pipes, changing inputs
  run.py all NAME ...     only the commands with these names
  run.py one NAME CALL AT WHAT     a single fault, with what the command says

INGOT names the program; by default it is .build/release/ingot.
"""

import collections
import os
import random
import sys
import tempfile
import time

import calls
import inputs
import kills
import places
from bench import Bench, build_shim
from commands import prepare


class Totals:
    """Counts runs by kind and keeps what went wrong."""

    def __init__(self):
        self.counts = collections.Counter()
        self.failures = []
        self.notes = []

    def add(self, kind, label, wrong, injected=1):
        self.counts[kind] += injected
        for what in wrong:
            self.failures.append(f"{label}: {what}")
            print(f"FAILED {label}: {what}", flush=True)

    def note(self, text):
        self.notes.append(text)
        print("note:", text, flush=True)


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in ("ci", "all", "one"):
        sys.exit(__doc__)
    everything = sys.argv[1] == "all"
    totals = Totals()
    random.seed(8)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ingot-faults-") as folder:
        os.chmod(folder, 0o755)
        shim = build_shim(folder)
        commands = prepare(folder)
        wanted = sys.argv[2:]
        if sys.argv[1] == "one":
            name, call, at, what = wanted
            bench = Bench(next(command for command in commands if command.name == name), shim)
            result = bench.run(call, int(at), what)
            print(result.status, result.output.decode(), result.error, result.report.get("injected"))
            return
        for command in commands:
            if wanted and command.name not in wanted:
                continue
            bench = Bench(command, shim)
            before = sum(totals.counts.values())
            calls.run(bench, totals, everything)
            kills.run(bench, totals, everything)
            places.run(bench, totals, everything)
            inputs.run(bench, totals, everything)
            bench.close()
            print(f"{command.name}: {sum(totals.counts.values()) - before} faults "
                  f"({time.monotonic() - start:.0f} s)", flush=True)
    print()
    for kind, count in sorted(totals.counts.items()):
        print(f"{count:6} {kind}")
    print(f"{sum(totals.counts.values()):6} in all, {len(totals.failures)} ended wrongly")
    sys.exit(1 if totals.failures else 0)


if __name__ == "__main__":
    main()
