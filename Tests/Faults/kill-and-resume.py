#!/usr/bin/env python3
"""Kills conversions at random moments and goes on with --resume: every archive has to be the one that a
conversion without a kill makes, byte for byte, and nothing else may be left.

    Tests/Faults/kill-and-resume.py --kills 200 [--seed 1]

After every kill: an older file is intact or replaced by the whole new one, and beside it lie only
unfinished outputs and journals. Every fourth conversion is killed again while it goes on.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
INGOT = os.environ.get("INGOT", ROOT + "/.build/release/ingot")
MODEL = ROOT + "/Fixtures/models/llama3"
IMATRIX = ROOT + "/Fixtures/models/imatrix/llama3.gguf"

# Name, options, number of parts. Many small files make the time of syncs and renames long enough to be hit.
CASES = [
    ("one file", ["--type", "Q4_K_M", "--threads", "1"], 0),
    ("slow types", ["--type", "IQ2_S", "--imatrix", IMATRIX, "--threads", "2"], 0),
    ("split", ["--type", "Q5_K_M", "--threads", "2", "--split-max-size", "1M"], 0),
    ("many files", ["--type", "Q8_0", "--threads", "2", "--split-max-size", "100K"], 0),
    ("parts", ["--type", "Q4_K_M", "--threads", "1"], 3),
    ("parts of a split", ["--type", "Q6_K", "--threads", "1", "--split-max-size", "300K"], 2),
]


def start(folder, options):
    return subprocess.Popen(
        [INGOT] + options, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def convert(options):
    return ["convert", MODEL, "-o", "out.gguf", "--progress", "none", "--resume"] + options


def steps(case):
    """The commands that make a case's archive."""
    _, options, parts = case
    if parts == 0:
        return [convert(options)]
    return [convert(options + ["--part", f"{k}/{parts}"]) for k in range(1, parts + 1)] + [["finish", "out.gguf"]]


def contents(folder):
    result = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            result[name] = file.read()
    return result


def run(folder, command):
    process = start(folder, command)
    error = process.communicate()[1]
    if process.returncode != 0:
        sys.exit(f"{command} ended with {process.returncode}: {error}")


def run_killed(folder, command, delay):
    """Whether the process was still there to be killed."""
    process = start(folder, command)
    try:
        error = process.communicate(timeout=delay)[1]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        error = process.communicate()[1]
    if process.returncode == -signal.SIGKILL:
        return True
    if process.returncode != 0:
        sys.exit(f"{command} ended with {process.returncode}: {error}")
    return False


def check_left(folder, expected, older, where):
    """What a kill left: whole files or older ones under final names, and what --resume needs."""
    named = 0
    for name, data in contents(folder).items():
        if name.startswith(".") and ".gguf.ingot." in name and name.endswith((".partial", ".journal")):
            continue
        if name in expected and data == expected[name]:
            named += 1
        elif older is None or older.get(name) != data:
            sys.exit(f"{where}: {name} is neither the new file nor the old one")
    if 0 < named < len(expected):
        first = min(expected)
        if os.path.exists(os.path.join(folder, first)):
            sys.exit(f"{where}: a set with its first part lacks others")
    return named


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    rng = random.Random(arguments.seed)
    references = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            durations = []
            for command in steps(case):
                begin = time.monotonic()
                run(folder, command)
                durations.append(time.monotonic() - begin)
            references.append((contents(folder), durations))

    counts = {case[0]: [0, 0] for case in CASES}
    killed = again = 0
    while killed < arguments.kills:
        index = rng.randrange(len(CASES))
        case, (expected, durations) = CASES[index], references[index]
        commands = steps(case)
        with tempfile.TemporaryDirectory() as folder:
            older = None
            if case[2] == 0 and len(expected) == 1 and rng.random() < 0.5:
                older = {name: b"an older file" for name in expected}
                for name, data in older.items():
                    with open(os.path.join(folder, name), "wb") as file:
                        file.write(data)
            victim = rng.randrange(len(commands))
            hits = 0
            for number, command in enumerate(commands):
                if number == victim:
                    # The last quarter twice as often: there are the syncs and the renames.
                    share = rng.random() if rng.random() < 0.7 else rng.uniform(0.75, 1.05)
                    while run_killed(folder, command, share * durations[number]):
                        hits += 1
                        counts[case[0]][1] += 0 < check_left(folder, expected, older, case[0]) < len(expected)
                        if rng.random() < 0.75:
                            break
                        share = rng.random()
                run(folder, command)
            if hits == 0:
                continue
            killed += 1
            again += hits - 1
            counts[case[0]][0] += 1
            if contents(folder) != expected:
                sys.exit(f"{case[0]}: another archive, or something is left: {sorted(os.listdir(folder))}")
    for name, (kills, between) in counts.items():
        print(f"{name}: {kills} equal" + (f", {between} kills between renames" if between else ""))
    print(f"{killed} killed conversions, {again} of them killed again while they went on: {killed} equal files")


main()
