"""Archives with experts against llama.cpp: it loads them, and its logits are those of transformers.

The checkpoints are the random ones of Fixtures/models/random (see make_expert_models.py), so the logits to compare with
are there too. Needs INGOT and the environment of setup-peers.sh; `.ci/run` sets both.
"""

import json
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

import gguf
import llama_cpp
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "Fixtures" / "models"
INGOT = os.environ["INGOT"]
MODELS = ["llama4-16-experts", "llama4-every-second", "mixtral"]


def weights(name, count, centre, spread):
    """BF16 bytes of a tensor: SplitMix64 seeded with the FNV-1a hash of its name."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        state = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ state >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ state >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        state = state ^ state >> np.uint64(31)
    number = ((state >> np.uint64(40)).astype(np.int64) - 2**23).astype(np.float32) * np.float32(2.0**-23)
    value = np.float32(centre) + number * np.float32(spread)
    return (value.view(np.uint32) >> np.uint32(16)).astype("<u2").tobytes()


def checkpoint(model, folder):
    expected = json.loads((FIXTURES / "random" / f"{model}.json").read_text())
    (folder / "config.json").write_text(json.dumps(expected["config"]))
    for name, value in expected.get("files", {}).items():
        (folder / name).write_text(json.dumps(value))
    for name in ["tokenizer.json", "tokenizer_config.json"]:
        (folder / name).symlink_to(FIXTURES / "llama3" / name)
    header, data = {}, b""
    for name, shape, centre, spread in expected["tensors"]:
        part = weights(name, int(np.prod(shape)), centre, spread)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return expected


def ingot(*words):
    done = subprocess.run([INGOT, *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def logits(path, tokens):
    model = llama_cpp.Llama(
        str(path), n_ctx=256, n_batch=256, n_threads=2, logits_all=True, verbose=False, flash_attn=False,
        type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32)
    model.eval(tokens)
    result = np.array(model.scores[: len(tokens)], dtype=np.float32)
    model.close()
    return result


class ExpertTests(unittest.TestCase):
    def test_logits_equal_transformers(self):
        for model in MODELS:
            with self.subTest(model=model), tempfile.TemporaryDirectory() as work:
                folder = pathlib.Path(work)
                expected = checkpoint(model, folder)
                golden = np.fromfile(FIXTURES / "random" / f"{model}.f32", dtype="<f4")
                ingot("convert", folder, "-o", folder / "f32.gguf", "--type", "F32", "--progress", "none")
                found = logits(folder / "f32.gguf", expected["tokens"])
                golden = golden.reshape(-1, found.shape[1])
                worst = np.abs(found[:: 8][: len(golden)] - golden).max()
                print(f"{model}: logits of llama.cpp differ from transformers' by at most {worst:.2e}")
                self.assertLess(worst, 1e-3)

    def test_archives_of_chosen_types_load(self):
        for model in MODELS:
            with self.subTest(model=model), tempfile.TemporaryDirectory() as work:
                folder = pathlib.Path(work)
                expected = checkpoint(model, folder)
                out = folder / "chosen.gguf"
                ingot(
                    "convert", folder, "-o", out, "--target-bpw", "6", "--progress", "none", "--text",
                    ROOT / "Fixtures" / "text" / "eval.txt", "--text-context", "32", "--chunks", "2")
                reader = gguf.GGUFReader(str(out))
                types = {tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1}
                self.assertGreater(len(types), 1)
                self.assertTrue(np.isfinite(logits(out, expected["tokens"])).all())

    def test_gguf_reads_importance_of_experts(self):
        with tempfile.TemporaryDirectory() as work:
            folder = pathlib.Path(work)
            checkpoint("llama4-16-experts", folder)
            out = folder / "imatrix.gguf"
            ingot(
                "calibrate", folder, "-o", out, "--text", ROOT / "Fixtures" / "text" / "eval.txt", "--context", "64",
                "--chunks", "4", "--progress", "none")
            tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(str(out)).tensors}
            counts = tensors["blk.1.ffn_down_exps.weight.counts"]
            # Every token goes to one expert.
            self.assertEqual(counts.sum(), 4 * 64)
            self.assertEqual(tensors["blk.1.ffn_down_exps.weight.in_sum2"].shape[0], 16)


if __name__ == "__main__":
    unittest.main()
