"""The commands that faults are injected into, small enough to run thousands of times."""

import os
import subprocess

from bench import FIXTURES, INGOT, Command, resumes


def files(folder, into, names=None):
    return {
        f"{into}/{name}": os.path.join(folder, name)
        for name in names or os.listdir(folder) if os.path.isfile(os.path.join(folder, name))}


def prepare(folder):
    """Makes what the commands read, and lists them."""
    small_folder = os.path.join(FIXTURES, "golden/forward/tied-linear")
    small = files(small_folder, "small", ["config.json", "model.safetensors"])
    small["small/tokenizer.json"] = os.path.join(FIXTURES, "golden/forward/tokenizer.json")
    large = files(os.path.join(FIXTURES, "models/llama3"), "large")
    text = os.path.join(folder, "text.txt")
    with open(os.path.join(FIXTURES, "text/eval.txt"), "rb") as whole, open(text, "wb") as part:
        part.write(whole.read(2000))

    def make(name, words):
        path = os.path.join(folder, name)
        model = os.path.join(folder, "small")
        if not os.path.isdir(model):
            os.mkdir(model)
            for target, original in small.items():
                os.symlink(original, os.path.join(folder, target))
        subprocess.run(
            [INGOT] + [word.replace("MODEL", model).replace("TEXT", text) for word in words]
            + ["-o", path, "--progress", "none"], check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        return path

    archive = make("small.gguf", ["convert", "MODEL", "--type", "Q8_0"])
    importance = make(
        "imatrix.gguf", ["calibrate", "MODEL", "--text", "TEXT", "--context", "32", "--chunks", "2"])
    part_size = str(os.path.getsize(archive) // 2)
    make("split.gguf", ["convert", "MODEL", "--type", "Q8_0", "--split-max-size", part_size])
    parts = sorted(name for name in os.listdir(folder) if name.startswith("split-"))
    quiet = ["--progress", "none", "--threads", "2"]
    with_text = ["--text", "IN/text.txt", "--context", "32", "--chunks", "2"]
    split_outputs = [part.replace("split-", "s-") for part in parts]
    archive_input = {"a.gguf": archive}
    packed_archive = pack(folder, "a.gguf.ingot", archive)
    packed_model = pack(folder, "small.ingot", os.path.join(folder, "small"))

    return [
        Command(
            "convert", ["convert", "IN/large", "-o", "OUT/a.gguf", "--type", "Q4_K_M"] + quiet,
            large, ["a.gguf"], base="a.gguf"),
        Command(
            "convert small", [
                "convert", "IN/small", "-o", "OUT/a.gguf", "--type", "Q8_0", "--imatrix", "IN/i.gguf",
                "--modelfile", "OUT/Modelfile", "--manifest", "OUT/m.json"] + quiet,
            {**small, "i.gguf": importance}, ["a.gguf", "Modelfile", "m.json"],
            base="a.gguf"),
        Command(
            "convert split", [
                "convert", "IN/small", "-o", "OUT/s.gguf", "--type", "Q8_0", "--split-max-size", part_size,
                "--manifest", "OUT/m.json"] + quiet,
            small, split_outputs + ["m.json"], hidden=[] if resumes() else split_outputs,
            base="s.gguf"),
        Command(
            "merge", [
                "convert", "IN/" + parts[0], "-o", "OUT/a.gguf", "--type", "copy"] + quiet,
            {part: os.path.join(folder, part) for part in parts}, ["a.gguf"],
            base="a.gguf"),
        *in_parts(folder, small, part_size, split_outputs, quiet),
        Command(
            "pack", ["pack", "IN/small", "-o", "OUT/p.ingot"] + quiet, small, ["p.ingot"],
            takes_anything=True),
        Command(
            "pack seekable", [
                "pack", "IN/a.gguf", "-o", "OUT/p.zst", "--format", "seekable-zstd"] + quiet,
            archive_input, ["p.zst"], takes_anything=True),
        Command(
            "unpack", ["unpack", "IN/a.gguf.ingot", "-o", "OUT/a.gguf"] + quiet,
            {"a.gguf.ingot": packed_archive}, ["a.gguf"]),
        Command(
            "unpack folder", ["unpack", "IN/small.ingot", "-o", "OUT/small"] + quiet,
            {"small.ingot": packed_model}, ["small"], hidden=["small"]),
        Command(
            "calibrate", ["calibrate", "IN/small", "-o", "OUT/i.gguf"] + with_text + quiet,
            {**small, "text.txt": text}, ["i.gguf"]),
        Command(
            "verify", [
                "verify", "IN/small", "IN/a.gguf", "--json", "OUT/r.json", "--junit", "OUT/r.xml",
                "--html", "OUT/r.html", "--markdown", "OUT/r.md"] + with_text + quiet,
            {**small, **archive_input, "text.txt": text}, ["r.json", "r.xml", "r.html", "r.md"],
            # Its tokenizers differ by a leading token, which `verify` fails.
            varies=["r.json", "r.xml", "r.html", "r.md"], good=1),
        Command(
            "save reference", [
                "verify", "IN/small", "--save-reference", "OUT/saved"] + with_text + quiet,
            {**small, "text.txt": text}, ["saved"]),
        Command(
            "plan", [
                "plan", "IN/small", "--target-bpw", "8", "--measurements", "OUT/m.json", "-o",
                "OUT/recipe.json", "--text", "IN/text.txt", "--text-context", "32", "--chunks", "1"]
            + quiet,
            {**small, "text.txt": text}, ["m.json", "recipe.json"], kept=["m.json"],
            hidden=["m.json"]),
        Command("inspect", ["inspect", "IN/small", "--tensors"], small),
        Command("inspect archive", ["inspect", "IN/a.gguf", "--metadata", "--json"], archive_input),
        Command("check", ["check", "IN/a.gguf", "--threads", "2"], archive_input),
        Command(
            "manifest", ["manifest", "IN/a.gguf", "-o", "OUT/m.json", "--threads", "2"],
            archive_input, ["m.json"]),
        Command(
            "tokenize", ["tokenize", "IN/small", "--file", "IN/text.txt"],
            {**small, "text.txt": text}),
    ]


def pack(folder, name, original):
    path = os.path.join(folder, name)
    subprocess.run(
        [INGOT, "pack", original, "-o", path, "--progress", "none"], check=True,
        stdout=subprocess.DEVNULL)
    return path


def in_parts(folder, small, part_size, split_outputs, quiet):
    """A part, and the end of all parts, as one file and as a split set."""
    commands = []
    for name, more, outputs in (
            ("", [], ["s.gguf"]), (" split", ["--split-max-size", part_size], split_outputs)):
        convert = ["-o", "OUT/s.gguf", "--type", "Q8_0"] + more + quiet
        made = os.path.join(folder, "parts" + name)
        os.mkdir(made)
        for number in (1, 2):
            words = [word.replace("OUT/", made + "/") for word in convert]
            subprocess.run(
                [INGOT, "convert", os.path.join(folder, "small")] + words
                + ["--part", f"{number}/2"], check=True, stdout=subprocess.DEVNULL)
        unfinished = {name: os.path.join(made, name) for name in os.listdir(made)}
        finish = ["finish", "OUT/s.gguf", "--manifest", "OUT/m.json"] + quiet
        begun = [["convert", "IN/small"] + convert + ["--part", f"{number}/2"] for number in (1, 2)]
        commands += [
            Command(
                "part" + name, begun[0], small, untouched=outputs, after=begun + [finish],
                parts=[name for name in unfinished if "part-2" not in name]),
            Command(
                "finish" + name, finish, {}, outputs + ["m.json"], unfinished=unfinished,
                after=[finish], others=[1])]
    return commands
