"""Packing side by side with `zstd -3`, one thread each, and with the order-0 entropy of the planes.

    python Sources/Benchmarks/Packing/compare.py FILE-OR-FOLDER ... --work /dev/shm/pack [--rounds 5]

Every contender takes its turn in every round; medians are printed. Work in memory (a tmpfs), so that
no disk is measured. A rate is bytes of unpacked content by the CPU time, system included, of a
process with one thread, and by its wall time. Needs numpy and a release build.

The bound is what a perfect coder of single bytes, told the frequencies of each plane of each tensor,
would need: the sum over tensors and planes of count x entropy, everything that is no tensor as packed.
Planes are those of formats/packed-archive.md.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import time

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[3]
INGOT = os.environ.get("INGOT", str(ROOT / ".build/release/ingot"))
WORDS = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8}


def measure(command):
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"{command} ended with {child.returncode}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime


def peak(command):
    """MiB; what the system says of a child counts this process too, from before the child began."""
    return json.loads(subprocess.check_output([*command, "--json"]))["peakResidentBytes"] / 2**20


def entropy_bytes(plane):
    counts = numpy.bincount(plane, minlength=256)
    counts = counts[counts > 0]
    return float(-(counts * numpy.log2(counts / plane.size)).sum() / 8)


def bound(path):
    """(bytes of tensors, order-0 bytes of their planes) of a safetensors file."""
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
    data = numpy.memmap(path, numpy.uint8, "r", 8 + length)
    content, least = 0, 0.0
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        begin, end = tensor["data_offsets"]
        width = WORDS.get(tensor["dtype"], 1)
        content += end - begin
        if width == 1:
            least += entropy_bytes(data[begin:end])
            continue
        words = numpy.array(data[begin:end]).view(f"<u{width}")
        words = (words << 1) | (words >> (8 * width - 1))
        for plane in range(width):
            least += entropy_bytes(((words >> (8 * plane)) & 0xFF).astype(numpy.uint8))
    return content, least


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("inputs", nargs="+", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for path in options.inputs:
        compare(path, options.work, options.rounds)


def remove(out):
    shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)


def compare(path, work, rounds):
    content = sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file())
    packed, tar, out = work / "a.ingot", work / "a.zst", work / "out"
    quiet = ["--threads", "1", "--progress", "none"]
    # zstd takes one stream; a folder's files one behind the other are the same bytes.
    stream = work / "stream"
    with open(stream, "wb") as target:
        for part in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
            with open(part, "rb") as source:
                shutil.copyfileobj(source, target)
    commands = {
        "pack": [INGOT, "pack", str(path), "-o", str(packed), *quiet],
        "zstd -3": ["zstd", "-3", "-q", "-f", "--single-thread", str(stream), "-o", str(tar)],
        "unpack": [INGOT, "unpack", str(packed), "-o", str(out), *quiet],
        "unpack --test": [INGOT, "unpack", str(packed), "--test", *quiet],
        "zstd -d": ["zstd", "-d", "-q", "-f", str(tar), "-o", str(out)],
        "zstd -t": ["zstd", "-t", "-q", str(tar)],
        # What writing the content costs whoever does it.
        "cp": ["cp", str(stream), str(out)],
    }
    runs = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(measure(command))
            remove(out)
    print(f"\n{path}: {content} bytes, {rounds} rounds")
    print("| | CPU MB/s | wall MB/s | packed |\n|---|---|---|---|")
    for name, results in runs.items():
        wall, cpu = (statistics.median(r[i] for r in results) for i in range(2))
        size = {"pack": packed, "zstd -3": tar}.get(name)
        ratio = f"{100 * size.stat().st_size / content:.2f} %" if size else ""
        print(f"| {name} | {content / cpu / 1e6:.0f} | {content / wall / 1e6:.0f} | {ratio} |")
    for name in ("pack", "unpack"):
        print(f"{name}: peak {peak(commands[name]):.0f} MiB")
        remove(out)
    report = json.loads(subprocess.check_output([INGOT, "inspect", str(packed), "--json"]))["packing"]
    for share in report["types"]:
        print(f"{share['type']}: {share['contentBytes']} bytes, {100 * share['ratio']:.2f} %")
    files = [path] if path.is_file() else sorted(path.rglob("*.safetensors"))
    weights = [bound(p) for p in files if p.suffix == ".safetensors"]
    if weights:
        total, least = (sum(w[i] for w in weights) for i in range(2))
        ours = sum(s["packedBytes"] for s in report["types"] if s["type"] != "other")
        print(f"weights: {total} bytes, order-0 bound {100 * least / total:.2f} %, packed {100 * ours / total:.2f} %: "
              f"{100 * (ours / least - 1):.2f} % above the bound")
    for leftover in (packed, tar, stream):
        leftover.unlink()


main()
