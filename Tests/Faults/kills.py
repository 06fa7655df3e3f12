"""Signals: at chosen calls, where every run dies at the same place, and at random moments."""

import os
import random
import signal

SIGNALS = {"KILL": signal.SIGKILL, "INT": signal.SIGINT, "TERM": signal.SIGTERM}


def run(bench, totals, everything):
    for name in SIGNALS:
        for call in ("open", "pread", "pwrite", "ftruncate", "fsync", "rename", "unlink", "stdout"):
            count = bench.counts.get(call, 0)
            limit = 60 if everything else 2
            at_calls = range(1, count + 1)
            if count > limit:
                at_calls = sorted(random.sample(list(at_calls), limit))
            for at in at_calls:
                at_call(bench, totals, name, call, at)
    seconds = duration(bench)
    for _ in range(20 if everything else 1):
        for name, number in SIGNALS.items():
            moment = random.uniform(0.001, seconds * 1.1)
            bench.reset_outputs()
            result = bench.run(kill_after=(number, moment))
            judge(bench, totals, result, name, f"after {moment:.3f} s")


def duration(bench):
    bench.reset_outputs()
    return bench.run().seconds


def at_call(bench, totals, name, call, at):
    bench.reset_outputs()
    result = bench.run(call, at, name)
    judge(bench, totals, result, name, f"at {call} {at}")


def judge(bench, totals, result, name, moment):
    good = bench.command.good
    if name == "KILL":
        allowed = {-signal.SIGKILL, good}
    elif bench.command.outputs or bench.command.after:
        # Before the command has begun to catch signals, the system's default ends it.
        allowed = {130, good}
        if not result.report:
            allowed.add(-SIGNALS[name])
    else:
        allowed = {130, good, -SIGNALS[name]}
    wrong = bench.judge(result, allowed, quiet=(result.status or 0) < 0)
    label = f"{bench.command.name}, SIG{name} {moment}"
    if bench.left_over():
        wrong += bench.go_on()
    elif any(os.path.isdir(os.path.join(bench.out, output)) for output in bench.command.outputs):
        # A whole folder has its name, and `judge` has compared it: no run replaces that.
        pass
    elif name == "KILL" or wrong:
        # What was left does not stand in the way of the next run, which clears it away.
        again = bench.run()
        wrong += [f"the next run: {text}" for text in bench.judge(again, {good})]
    wrong += bench.complete()
    totals.add(f"SIG{name}", label, wrong)
