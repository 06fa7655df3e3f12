"""Whole conversions side by side: ingot, llama.cpp's converter and quantizer, and a plain copy.

Every contender takes its turn in every round; medians are printed, as a table and with --json.
Needs the environment of Tests/Interop/setup-peers.sh (for the reference) and a release build:

    swift build -c release
    .build/release/make-checkpoint /tmp/checkpoint
    python Sources/Benchmarks/Conversions/compare.py /tmp/checkpoint /tmp/work [--rounds 3] [--no-reference]

A contender's CPU time, peak memory and bytes written to disk are those of all its processes, as the
operating system accounts them; memory is that of the largest single process.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
INGOT = os.environ.get("INGOT", str(ROOT / ".build/release/ingot"))


def measure(commands, outputs):
    """Runs commands one after the other; returns wall, CPU, peak MiB and MB of the files they left."""
    start = time.monotonic()
    cpu, peak = 0.0, 0
    for command in commands:
        with open(os.devnull, "w") as null:
            child = subprocess.Popen(command, stdout=null, stderr=null, shell=isinstance(command, str))
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise SystemExit(f"{command} ended with {child.returncode}")
        cpu += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss)
    wall = time.monotonic() - start
    written = sum(pathlib.Path(path).stat().st_size for path in outputs)
    for path in outputs:
        os.unlink(path)
    return {"wall": wall, "cpu": cpu, "peakMiB": peak / 1024, "writtenMB": written / 1e6}


def contenders(checkpoint, work, reference):
    weights = sorted(str(path) for path in checkpoint.glob("*.safetensors"))
    out, mid = str(work / "out.gguf"), str(work / "intermediate.gguf")

    def ours(mix, *options):
        return [[INGOT, "convert", str(checkpoint), "-o", out, "--type", mix, "--progress", "none", *options]]

    yield "ingot Q4_K_M", ours("Q4_K_M"), [out]
    yield "ingot Q4_K_M, 16 threads", ours("Q4_K_M", "--threads", "16"), [out]
    yield "ingot Q4_K_M, --memory-limit 128M", ours("Q4_K_M", "--memory-limit", "128M"), [out]
    yield "ingot Q8_0", ours("Q8_0"), [out]
    yield "ingot BF16", ours("BF16"), [out]
    yield "cat input > out && sync out", [f"cat {' '.join(weights)} > {out} && sync {out}"], [out]
    if reference:
        convert = [
            sys.executable, str(ROOT / "Tests/Interop/reference_convert.py"), "llama-bpe",
            str(checkpoint), mid, "bf16",
        ]
        quantize = ["llama-quantize", mid, out, "Q4_K_M", str(os.cpu_count())]
        yield "reference Q4_K_M (converter, quantizer)", [convert, quantize, ["sync", out]], [mid, out]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-reference", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    runs = {}
    for _ in range(options.rounds):
        for name, commands, outputs in contenders(options.checkpoint, options.work, not options.no_reference):
            # Warm page cache for everyone.
            subprocess.run(f"cat {options.checkpoint}/*.safetensors > {os.devnull}", shell=True, check=True)
            runs.setdefault(name, []).append(measure(commands, outputs))
    medians = {
        name: {key: statistics.median(run[key] for run in rows) for key in rows[0]}
        for name, rows in runs.items()
    }
    print("| what | wall s | CPU s | peak MiB | MB written |\n|---|---|---|---|---|")
    for name, row in medians.items():
        print(
            f"| {name} | {row['wall']:.2f} | {row['cpu']:.2f} | {row['peakMiB']:.0f} "
            f"| {row['writtenMB']:.0f} |")
    if options.json:
        options.json.write_text(json.dumps({"runs": runs, "medians": medians}, indent=1) + "\n")


if __name__ == "__main__":
    main()
