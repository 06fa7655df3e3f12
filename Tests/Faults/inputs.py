"""Inputs that are cut off, written over or replaced while they are read."""

import os
import random
import shutil


def run(bench, totals, everything):
    reads = bench.counts.get("pread", 0)
    if not reads or not bench.command.inputs:
        return
    for change in ("truncate", "overwrite", "replace"):
        for at in sorted(random.sample(range(1, reads + 1), min(reads, 34 if everything else 2))):
            target = random.choice(large_inputs(bench))
            bench.reset_outputs()
            before = original(bench, target)
            result = bench.run("pread", at, change, target=target)
            label = f"{bench.command.name}, {change} {target} at read {at}"
            if result.status == bench.command.good:
                # Behind the last read a change makes no difference, before the first it has to.
                wrong = bench.judge(result, {bench.command.good})
                wrong = wrong and fresh_run_differs(bench, result)
            else:
                wrong = bench.judge(result, {65, 74})
            totals.add(f"input: {change}", label, wrong)
            restore(bench, target, before)
    for name in bench.command.inputs:
        cut(bench, totals, name, everything)


def large_inputs(bench):
    """Files of weights, which are read until the end."""
    names = sorted(
        bench.command.inputs, key=lambda name: os.path.getsize(bench.command.inputs[name]))
    return [name for name in names if name.endswith((".safetensors", ".gguf", ".ingot"))][-2:]


def fresh_run_differs(bench, result):
    """What was not noticed has to have made no difference: the change came before the first look."""
    def contents():
        return {name: bench.read(name) for name in bench.command.outputs
                if name not in bench.command.varies}
    first = contents()
    again = bench.run()
    if again.status != result.status:
        return [f"was not noticed, but a new run ends with {again.status}: {again.error}"]
    if not bench.command.outputs:
        return [] if again.output == result.output else ["was not noticed, but changes the result"]
    return [f"was not noticed, but changes {name}" for name, bytes_ in contents().items()
            if bytes_ != first[name]]


def original(bench, target):
    return os.path.join(bench.root, "in", target), bench.command.inputs[target]


def restore(bench, target, pair):
    shutil.copyfile(pair[1], pair[0] + ".again")
    os.replace(pair[0] + ".again", pair[0])


def cut(bench, totals, name, everything):
    """The file is too short from the beginning."""
    path, source = original(bench, name)
    size = os.path.getsize(source)
    cuts = {0, 1, size // 2, size - 1}
    if everything:
        cuts |= {random.randrange(size) for _ in range(4)}
    for count in sorted(cuts):
        bench.reset_outputs()
        with open(source, "rb") as whole, open(path, "wb") as part:
            part.write(whole.read(count))
        result = bench.run()
        if bench.command.takes_anything:
            wrong = [] if result.status in (0, 65) else [f"status {result.status}: {result.error}"]
            totals.add("input: cut off", f"{bench.command.name}, {name} of {count} bytes", wrong)
            continue
        # What does not matter, such as a last newline, may be missing; text may end anywhere.
        if name.endswith(".txt"):
            wrong = [] if result.status in (bench.command.good, 64, 65) else [
                f"status {result.status}: {result.error}"]
        else:
            wrong = bench.judge(result, {65, bench.command.good})
        totals.add("input: cut off", f"{bench.command.name}, {name} of {count} bytes", wrong)
    restore(bench, name, (path, source))
