#!/usr/bin/env python3
"""Injects faults into every command and says what does not end as it has to.

  run.py ci               a part that takes two minutes at most
  run.py all              every call, every error, kills, disks, pipes, changing inputs
  run.py all NAME ...     only the commands with these names
  run.py one NAME CALL AT WHAT     a single fault, with what the command says

INGOT names the program; by default it is .build/release/ingot.
"""

import collections
import multiprocessing
import os
import random
import sys
import tempfile
import time

import calls
import inputs
import kills
import places
from bench import FOLDER, Bench, build_shim
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
            print(f"FAILED {label}: {' '.join(what.split())}", flush=True)

    def note(self, text):
        self.notes.append(text)

    def take(self, other):
        self.counts += other.counts
        self.failures += other.failures
        self.notes += [note for note in other.notes if note not in self.notes]


def inject(job):
    """Everything that is done to one command."""
    command, shim, everything = job
    # Each command has its own sequence, whatever runs beside it.
    random.seed(command.name)
    totals = Totals()
    start = time.monotonic()
    bench = Bench(command, shim)
    for part in (calls, kills, places, inputs):
        part.run(bench, totals, everything)
    bench.close()
    print(f"{command.name}: {sum(totals.counts.values())} faults "
          f"({time.monotonic() - start:.0f} s)", flush=True)
    return totals


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in ("ci", "all", "one"):
        sys.exit(__doc__)
    everything = sys.argv[1] == "all"
    totals = Totals()
    with tempfile.TemporaryDirectory(prefix="ingot-faults-", dir=FOLDER) as folder:
        os.chmod(folder, 0o755)
        shim = build_shim(folder)
        commands = prepare(folder)
        wanted = sys.argv[2:]
        if sys.argv[1] == "one":
            name, call, at, what = wanted
            bench = Bench(next(command for command in commands if command.name == name), shim)
            result = bench.run(call, int(at), what)
            print(result.status, result.output.decode(), result.error, result.report["injected"])
            bench.close()
            return
        chosen = [command for command in commands if not wanted or command.name in wanted]
        with multiprocessing.Pool(os.cpu_count()) as pool:
            jobs = [(command, shim, everything) for command in chosen]
            for result in pool.imap_unordered(inject, jobs):
                totals.take(result)
    print()
    for note in totals.notes:
        print("note:", note)
    for kind, count in sorted(totals.counts.items()):
        print(f"{count:6} {kind}")
    print(f"{sum(totals.counts.values()):6} in all, {len(totals.failures)} ended wrongly")
    sys.exit(1 if totals.failures else 0)


if __name__ == "__main__":
    main()
