"""Writes the first inputs of the fuzzer, small ones made from the fixtures: make_seeds.py FOLDER

One folder per reader, as Tests/Fuzz/Readers/FuzzedReader.swift names them. Runs without packages, but
packed files come from the built command.
"""

import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2] / "Fixtures"
LARGEST = 16_384


def gguf_text(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def gguf_value(kind, value):
    forms = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    if kind == 8:
        return gguf_text(value)
    if isinstance(kind, tuple):
        body = b"".join(gguf_value(kind[0], item) for item in value)
        return struct.pack("<IQ", kind[0] if isinstance(kind[0], int) else 9, len(value)) + body
    return struct.pack("<" + forms[kind], value)


def gguf(keys, tensors, version=3):
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    for key, kind, value in keys:
        head += gguf_text(key) + struct.pack("<I", kind if isinstance(kind, int) else 9) + gguf_value(kind, value)
    data = b""
    for name, dimensions, kind, content in tensors:
        head += gguf_text(name) + struct.pack("<I", len(dimensions))
        head += b"".join(struct.pack("<Q", count) for count in dimensions)
        head += struct.pack("<IQ", kind, len(data))
        data += content + bytes(-len(content) % 32)
    return head + bytes(-len(head) % 32) + data


def archives():
    tensors = [("a.weight", [4], 0, bytes(16)), ("b.weight", [32, 2], 8, bytes(68)), ("c", [256], 12, bytes(144))]
    everything = [("k%d" % kind, kind, 1) for kind in (0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12)]
    everything += [("text", 8, "x"), ("list", (4,), [1, 2, 3]), ("lists", ((4,),), [[1], [2, 3]]), ("general.alignment", 4, 32)]
    yield "all-kinds", gguf(everything, tensors)
    yield "version-2", gguf(everything[:3], tensors[:1], version=2)
    tokens = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % byte for byte in range(256)] + ["a", "b", "ab", "▁"]
    keys = [
        ("tokenizer.ggml.model", 8, "llama"), ("tokenizer.ggml.tokens", (8,), tokens),
        ("tokenizer.ggml.scores", (6,), [-float(i) for i in range(len(tokens))]),
        ("tokenizer.ggml.token_type", (5,), [2, 3, 3] + [6] * 256 + [1] * 4),
        ("tokenizer.ggml.bos_token_id", 4, 1), ("tokenizer.ggml.unknown_token_id", 4, 0),
    ]
    yield "sentencepiece", gguf(keys, tensors[:1])
    tokens = [letter for letter in byte_letters()] + ["ab", "abc", "<|begin_of_text|>"]
    keys = [
        ("tokenizer.ggml.model", 8, "gpt2"), ("tokenizer.ggml.pre", 8, "llama-bpe"),
        ("tokenizer.ggml.tokens", (8,), tokens), ("tokenizer.ggml.token_type", (5,), [1] * 258 + [3]),
        ("tokenizer.ggml.merges", (8,), ["a b", "ab c"]), ("tokenizer.ggml.bos_token_id", 4, 258),
        ("tokenizer.ggml.eos_token_id", 4, 258), ("tokenizer.ggml.add_bos_token", 7, True),
    ]
    yield "byte-level", gguf(keys, [])


def importances():
    keys = [
        ("general.type", 8, "imatrix"), ("imatrix.datasets", (8,), ["eval.txt"]),
        ("imatrix.chunk_count", 4, 2), ("imatrix.chunk_size", 4, 512),
    ]
    ones = struct.pack("<8f", *[1.5] * 8)
    yield "gguf", gguf(keys, [
        ("a.weight.in_sum2", [8, 1], 0, ones), ("a.weight.counts", [1, 1], 0, struct.pack("<f", 2.0))])
    entry = struct.pack("<i", 8) + b"a.weight" + struct.pack("<ii", 2, 8) + ones
    yield "dat", struct.pack("<i", 1) + entry + struct.pack("<ii", 2, 4) + b"text"
    yield "dat-short", struct.pack("<i", 1) + entry


def byte_letters():
    """The printable stand-ins of byte-level vocabularies."""
    following = 256
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174:
            yield chr(byte)
        else:
            yield chr(following)
            following += 1


def shortened_tokenizer(path):
    """The same tokenizer with few tokens: bytes, some merges, and what is added."""
    document = json.loads(path.read_text())
    model = document["model"]
    vocabulary = model["vocab"]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]][:12]
    added = {token["content"] for token in document["added_tokens"][:3]}
    kept = [t for t in vocabulary if len(t) == 1 or t.startswith("<0x") or t in added]
    kept += [a + b for a, b in merges if a + b in vocabulary and a + b not in kept]
    ids = {token: index for index, token in enumerate(kept)}
    model["vocab"] = ids
    model["merges"] = [list(m) for m in merges if all(part in ids for part in (*m, m[0] + m[1]))]
    document["added_tokens"] = document["added_tokens"][:3]
    for index, token in enumerate(document["added_tokens"]):
        token["id"] = ids.get(token["content"], len(ids) + index)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def shortened_sentencepiece(path, most):
    """The fields of a protobuf message, of the pieces the special ones, the bytes and a few more."""
    data = path.read_bytes()
    position, result, pieces = 0, b"", 0
    while position < len(data):
        start, tag = position, data[position]
        position += 1
        length, shift = 0, 0
        while True:
            byte = data[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        position += length
        if tag == 0x0A:
            pieces += 1
            if pieces > most:
                continue
        result += data[start:position]
    return result


def pickles():
    for path in sorted((ROOT / "golden/pytorch").glob("*.pt")):
        if zipfile.is_zipfile(path) and path.stem != "no-crc":
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                pickle = next(archive.read(name) for name in names if name.endswith("/data.pkl"))
                prefix = next(name for name in names if name.endswith("/data.pkl"))[:-8]
                sizes = []
                while f"{prefix}data/{len(sizes)}" in names and len(sizes) < 16:
                    sizes.append(archive.getinfo(f"{prefix}data/{len(sizes)}").file_size)
            if max(sizes, default=0) < 65_536:
                yield path.stem, bytes([len(sizes)]) + b"".join(struct.pack("<H", s) for s in sizes) + pickle


def seeds():
    for name, data in pickles():
        yield "pickle", name, data
    for path in sorted((ROOT / "golden/pytorch").glob("*.pt")):
        yield "pytorch", path.stem, path.read_bytes()
    for path in sorted((ROOT / "golden/quantized-inputs").glob("*.safetensors")):
        yield "quantized", path.stem, path.read_bytes()
    for name in ("fp8-codes", "ct-nvfp4", "bnb-nf4-f32-odd"):
        yield "safetensors", name, (ROOT / f"golden/quantized-inputs/{name}.safetensors").read_bytes()
    for name, data in archives():
        yield "gguf", name, data
    for name, data in importances():
        yield "imatrix", name, data
    configurations = sorted((ROOT / "models").glob("*/config*.json")) + sorted((ROOT / "models").glob("*/generation*.json"))
    for number, path in enumerate(configurations + sorted((ROOT / "golden").glob("forward/*/config.json"))):
        yield "configuration", str(number), path.read_bytes()
    for path in sorted((ROOT / "models/random").glob("*.json")):
        yield "configuration", "random-" + path.stem, json.dumps(json.loads(path.read_text())["config"]).encode()
    for path in sorted((ROOT / "golden/quantized-inputs").glob("*.safetensors")):
        data = path.read_bytes()
        header = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])
        text = '{"quantization_config":' + header["__metadata__"]["quantization_config"] + "}"
        yield "configuration", "quantized-" + path.stem, text.encode()
    for path in sorted((ROOT / "models").glob("*/params.json")):
        yield "parameters", path.parent.name, path.read_bytes()
    yield "parameters", "llama1", b'{"dim": 256, "multiple_of": 256, "n_heads": 4, "n_layers": 2, "norm_eps": 1e-06, "vocab_size": -1}'
    yield "tokenizer", "forward", (ROOT / "golden/forward/tokenizer.json").read_bytes()
    for path in [ROOT / "models/llama3/tokenizer.json", *sorted((ROOT / "tokenizers/encoding").glob("*/tokenizer.json"))]:
        yield "tokenizer", path.parent.name, shortened_tokenizer(path)
    for path in [*sorted((ROOT / "models").glob("*/*token*.json")), *sorted((ROOT / "models").glob("*/*token*map.json"))]:
        yield "tokenizer-settings", path.parent.name + path.stem, path.read_bytes()
    yield "tokenizer-settings", "template", b'{"chat_template": [{"name": "default", "template": "{{ x }}"}, {"name": "tool_use", "template": "y"}], "bos_token": {"content": "<s>"}, "add_bos_token": true, "added_tokens_decoder": {"0": {"content": "<s>", "special": true}}}'
    for path in [ROOT / "models/llama2/tokenizer.model", *sorted((ROOT / "tokenizers/encoding").glob("*/tokenizer.model"))]:
        yield "vocabulary", path.parent.name, shortened_sentencepiece(path, 300)
    lines = (ROOT / "models/llama3-meta/tokenizer.model").read_bytes().splitlines(keepends=True)
    yield "vocabulary", "ranks", b"".join(lines[:280])
    card = "---\nlicense: llama3.2\nbase_model:\n- meta-llama/Llama-3.2-1B\n- a/b\nlanguage: [en, de]\ntags: [x, \"y\", 'z']\n"
    card += "datasets:\n  - name: one\n    url: https://huggingface.co/a/b\npipeline_tag: text-generation\n"
    yield "card", "many", (card + "---\n# Model\n").encode()
    yield "card", "anchors", b"---\na: &x [1, 0x10, ~, !!str 3]\nb: *x\n? c\n: |\n  block\nd: >-\n  folded\ntags: *x\n---\n"
    yield "card", "base", b"---\nbase_model: https://huggingface.co/a/Llama-2-7b-chat-hf\nlicense_name: x\nmodel_creator: y\nno: no\nlanguage:\n- no\n---\n"
    yield "card", "none", b"# no front matter\n"
    yield "index", "two", b'{"metadata":{"total_size":16},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}'
    yield "index", "traversal", b'{"weight_map":{"a":"../model.safetensors"}}'
    yield from packed_files()


def packed_files():
    ingot = ROOT.parent / ".build/release/ingot"
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        folder = work / "model"
        (folder / "deep" / "empty").mkdir(parents=True)
        (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}' * 4)
        (folder / "deep" / "nothing").write_bytes(b"")
        weights = {"F32": 4, "BF16": 2, "F64": 8, "U8": 1}
        header, data = {}, b""
        for name, width in weights.items():
            start = len(data)
            data += b"".join(struct.pack("<d", 1 / (i + 1))[8 - width:] for i in range(300))
            header[name] = {"dtype": name, "shape": [300], "data_offsets": [start, len(data)]}
        text = json.dumps(header).encode()
        single = folder / "model.safetensors"
        single.write_bytes(struct.pack("<Q", len(text)) + text + data)
        runs = {
            "folder": (folder, []), "file": (single, []), "lz4": (single, ["--codec", "lz4"]),
            "seekable": (single, ["--format", "seekable-zstd"]), "empty": (folder / "deep/nothing", []),
        }
        for name, (source, options) in runs.items():
            output = work / name
            subprocess.run([ingot, "pack", source, "-o", output, "--progress", "none", *options],
                           check=True, stdout=subprocess.DEVNULL)
            yield "packed", name, output.read_bytes()
        yield "packed", "short", (work / "file").read_bytes()[:-1]
        damaged = bytearray((work / "seekable").read_bytes())
        damaged[20] ^= 1
        yield "packed", "damaged", bytes(damaged)
    yield "packed", "skippable", seekable_by_hand()
    yield "packed", "pages", archive_of_pages()


def seekable_by_hand():
    """Two frames of repeated bytes between others that have no content."""
    def run(byte, count):
        return b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", count) + (3 | count << 3).to_bytes(3, "little") + byte
    empty = b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00"
    frames = [(struct.pack("<II", 0x184D2A53, 5) + b"12345", 0), (run(b"a", 300), 300), (empty, 0),
              (struct.pack("<II", 0x184D2A50, 0), 0), (run(b"b", 200), 200), (empty, 0)]
    table = b"".join(struct.pack("<II", len(packed), count) for packed, count in frames)
    return (b"".join(packed for packed, _ in frames) + struct.pack("<II", 0x184D2A5E, len(table) + 9) + table
            + struct.pack("<IBI", len(frames), 0, 0x8F92EAB1))


def archive_of_pages():
    """Frames of one byte over two pages; the checksums are left to the bench."""
    count = 300
    frames = b"".join(struct.pack("<IB", 1, index % 256) for index in range(count))
    data = bytes.fromhex("89494e474f540d0a0100000000000000") + frames
    table = len(data)
    for first in range(0, count, 255):
        page = struct.pack("<Q", 16 + 5 * first)
        for index in range(first, min(first + 255, count)):
            page += struct.pack("<QQ", 16 + 5 * (index + 1), 0)
        data += page.ljust(4096, b"\0")
    directory = struct.pack("<BH1sBIBH1sQI", 0, 1, b"w", 0, 1, 0, 1, b"w", count, 3)
    for size in (100, 150, 50):
        directory += struct.pack("<QIBBH", size, 1, 1, 0, 0)
    return (data + directory
            + struct.pack("<6QQ8s", table, count, len(data), len(directory), count, 0, 0, b"INGOTEND"))


def main():
    target = pathlib.Path(sys.argv[1])
    for reader, name, data in seeds():
        if len(data) <= LARGEST:
            folder = target / reader
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        else:
            print(f"left out: {reader}/{name}, {len(data)} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
