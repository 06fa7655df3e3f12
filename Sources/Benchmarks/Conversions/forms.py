"""The same model behind every door: how much longer each form takes than safetensors.

    swift build -c release
    python Sources/Benchmarks/Conversions/forms.py /tmp/work [--layers 4] [--rounds 7] [--type Q8_0]

Writes the model once in each form, then converts all of them in every round, in turns, the page
cache warm. Medians; a ratio is the median of the ratios within rounds.
"""

import argparse
import hashlib
import json
import pathlib
import statistics
import subprocess

from compare import INGOT, ROOT, measure

FORMS = ["safetensors", "pytorch", "legacy", "meta1", "meta2"]
# The data of these archives is byte for byte the same; Meta's are of other weights.
SAME = FORMS[:3]


def data_hash(archive):
    """Of everything behind the metadata, which names the source's files."""
    text = subprocess.run([INGOT, "inspect", archive, "--tensors", "--json"], check=True, capture_output=True).stdout
    digest = hashlib.sha256()
    with open(archive, "rb") as file:
        file.seek(json.loads(text)["tensors"][0]["offset"])
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--type", action="append")
    options = parser.parse_args()
    types = options.type or ["BF16", "Q8_0", "Q4_K_M"]
    # One folder name for all: it becomes the model's name in the archive.
    folders = {form: options.work / form / "model" for form in FORMS}
    for form, folder in folders.items():
        if not (folder / "config.json").exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([ROOT / ".build/release/make-checkpoint", folder, str(options.layers), form], check=True)
    out = options.work / "out.gguf"

    def convert(form, kind):
        return [INGOT, "convert", str(folders[form]), "-o", str(out), "--type", kind, "--progress", "none"]

    hashes = set()
    for form in SAME:
        subprocess.run(convert(form, "BF16"), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        hashes.add(data_hash(out))
        out.unlink()
    assert len(hashes) == 1, hashes

    runs = {}
    for turn in range(options.rounds):
        for kind in types:
            # The order changes from round to round: whoever runs after another finds its caches.
            for form in FORMS[turn % len(FORMS):] + FORMS[:turn % len(FORMS)]:
                subprocess.run(f"cat {folders[form]}/* >/dev/null", shell=True, check=True)
                runs.setdefault((kind, form), []).append(measure([convert(form, kind)], [out]))
    print("| type | form | wall s | × | CPU s | × | peak MiB |\n|---|---|---|---|---|---|---|")
    for (kind, form), rows in runs.items():
        base = runs[kind, "safetensors"]
        cells = []
        for key in ("wall", "cpu"):
            cells.append(f"{statistics.median(row[key] for row in rows):.2f}")
            ratio = statistics.median(row[key] / other[key] for row, other in zip(rows, base))
            cells.append(f"{ratio:.2f}")
        print(f"| {kind} | {form} | {' | '.join(cells)} | {statistics.median(row['peakMiB'] for row in rows):.0f} |")


if __name__ == "__main__":
    main()
