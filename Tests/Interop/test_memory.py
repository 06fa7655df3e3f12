"""The memory model against the buffer sizes that llama.cpp prints.

Needs INGOT (path of the built command; estimate-memory lies beside it) and the environment of
setup-peers.sh; `.ci/run` sets both. With `--table` it prints the table of formats/memory-model.md.
"""

import ctypes
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import gguf
import llama_cpp
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
INGOT = os.environ["INGOT"]
ESTIMATE = pathlib.Path(INGOT).with_name("estimate-memory")
TYPES = {"f16": llama_cpp.GGML_TYPE_F16, "q8_0": llama_cpp.GGML_TYPE_Q8_0, "q4_0": llama_cpp.GGML_TYPE_Q4_0}
# Half of the last printed digit: sizes come in MiB with two decimals.
ROUNDING = 0.005 * 2**20 + 1

printed = []


@llama_cpp.llama_log_callback
def keep(_, text, __):
    printed.append((text or b"").decode(errors="replace"))


def megabytes(pattern, text):
    return [(name, float(size) * 2**20) for name, size in re.findall(pattern, text)]


class Peer:
    """A model in llama.cpp, and what it prints about its buffers."""

    def __init__(self, path, is_real):
        """Without `is_real` llama.cpp goes through everything but takes no memory."""
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers, parameters.load_mode = 0, 0
        parameters.use_extra_bufts, parameters.no_alloc = False, not is_real
        printed.clear()
        self.is_real = is_real
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        text = "".join(printed)
        assert self.model, text[-2000:]
        self.weights = sum(size for _, size in megabytes(r"(\S+)\s+model buffer size =\s+([0-9.]+) MiB", text))

    def buffers(self, case):
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = case["total_context"]
        parameters.n_batch = case.get("batch", 2048)
        parameters.n_ubatch = case.get("micro_batch", 512)
        parameters.n_seq_max = case.get("parallel", 1)
        parameters.kv_unified = bool(case.get("unified", 0))
        parameters.swa_full = bool(case.get("full", 0))
        parameters.flash_attn_type = case.get("flash", 1)
        parameters.type_k = TYPES[case.get("keys", "f16")]
        parameters.type_v = TYPES[case.get("values", "f16")]
        parameters.n_outputs_max = case.get("outputs", 0)
        parameters.n_threads = parameters.n_threads_batch = 1
        printed.clear()
        context = llama_cpp.llama_init_from_model(self.model, parameters)
        text = "".join(printed)
        assert context, text[-2000:]
        llama_cpp.llama_free(context)
        cache = re.findall(r"size =\s+([0-9.]+) MiB \(\s*(\d+) cells", text)
        return {
            "cache": sum(float(size) * 2**20 for size, _ in cache),
            "cells": sorted({int(cells) for _, cells in cache}),
            "compute": sum(size for _, size in megabytes(r"(\S+) compute buffer size =\s+([0-9.]+) MiB", text)),
            "outputs": sum(size for _, size in megabytes(r"(\S+)\s+output buffer size =\s+([0-9.]+) MiB", text)),
        }

    def close(self):
        llama_cpp.llama_model_free(self.model)


def estimate(path, case):
    options = [f"{name}={value}" for name, value in case.items()]
    return json.loads(subprocess.run([ESTIMATE, path, *options], check=True, capture_output=True, text=True).stdout)


def hollow(path, architecture, *, layers, embedding, heads, key_heads, head, feed_forward, vocabulary,
           experts=0, used=0, expert_forward=0, step=1, is_tied=False, weights="Q4_K"):
    """An archive of the given shape whose weights are a hole in the file."""
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_context_length(1 << 24)
    writer.add_embedding_length(embedding)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(500000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocabulary)
    writer.add_tokenizer_model("none")
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(used)
    if architecture == "llama4":
        writer.add_interleave_moe_layer_step(step)
        writer.add_expert_feed_forward_length(expert_forward)
    byte_count = 0

    def tensor(name, *shape):
        nonlocal byte_count
        is_plain = len(shape) == 1 or "gate_inp" in name
        kind = gguf.GGMLQuantizationType["F32" if is_plain else weights]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        needed = int(np.prod(shape, dtype=object)) // block * size
        plain = kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16)
        stored = list(shape) if plain else [*shape[:-1], shape[-1] // block * size]
        number = np.dtype("float32" if kind.name == "F32" else "float16" if plain else "uint8")
        writer.add_tensor_info(name, stored, number, needed, raw_dtype=kind)
        byte_count += (needed + 31) // 32 * 32

    tensor("token_embd.weight", vocabulary, embedding)
    tensor("output_norm.weight", embedding)
    if not is_tied:
        tensor("output.weight", vocabulary, embedding)
    tensor("rope_freqs.weight", head // 2)
    for layer in range(layers):
        block = f"blk.{layer}."
        tensor(block + "attn_norm.weight", embedding)
        tensor(block + "ffn_norm.weight", embedding)
        tensor(block + "attn_q.weight", heads * head, embedding)
        tensor(block + "attn_k.weight", key_heads * head, embedding)
        tensor(block + "attn_v.weight", key_heads * head, embedding)
        tensor(block + "attn_output.weight", embedding, heads * head)
        stacks = [("", (), feed_forward)]
        if experts and (layer + 1) % step == 0:
            width = expert_forward or feed_forward
            tensor(block + "ffn_gate_inp.weight", experts, embedding)
            stacks = [("_exps", (experts,), width)] + ([("_shexp", (), width)] if architecture == "llama4" else [])
        for suffix, leading, width in stacks:
            tensor(f"{block}ffn_gate{suffix}.weight", *leading, width, embedding)
            tensor(f"{block}ffn_up{suffix}.weight", *leading, width, embedding)
            tensor(f"{block}ffn_down{suffix}.weight", *leading, embedding, width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    header = os.path.getsize(path)
    os.truncate(path, (header + 31) // 32 * 32 + byte_count)


SMALL_LLAMA4 = dict(layers=8, embedding=256, heads=8, key_heads=4, head=32, feed_forward=512, vocabulary=2048,
                    experts=8, used=1, expert_forward=256, step=2, weights="F16")
REAL_SIZES = {
    "Llama 3.1 8B": ("llama", dict(layers=32, embedding=4096, heads=32, key_heads=8, head=128, feed_forward=14336,
                                   vocabulary=128256)),
    "Llama 3.2 1B": ("llama", dict(layers=16, embedding=2048, heads=32, key_heads=8, head=64, feed_forward=8192,
                                   vocabulary=128256, is_tied=True)),
    "Mixtral 8x7B": ("llama", dict(layers=32, embedding=4096, heads=32, key_heads=8, head=128, feed_forward=14336,
                                   vocabulary=32000, experts=8, used=2)),
    "Llama 4 Scout": ("llama4", dict(layers=48, embedding=5120, heads=40, key_heads=8, head=128, feed_forward=16384,
                                     vocabulary=202048, experts=16, used=1, expert_forward=8192)),
    "Llama 4 Maverick": ("llama4", dict(layers=48, embedding=5120, heads=40, key_heads=8, head=128,
                                        feed_forward=16384, vocabulary=202048, experts=128, used=1,
                                        expert_forward=8192, step=2)),
}
CASES = [
    dict(context=512),
    dict(context=512, flash=0),
    dict(context=2048, micro_batch=128),
    dict(context=2048, micro_batch=128, flash=0),
    dict(context=1000, parallel=3),
    dict(context=4096, parallel=4, unified=1),
    dict(context=4096, parallel=4, flash=0, outputs=4),
    dict(context=20000, keys="q8_0", values="q8_0"),
    dict(context=20000, keys="q4_0", flash=0, micro_batch=256),
    dict(context=20000, parallel=2, unified=1, batch=4096, micro_batch=1024),
    dict(context=20000, full=1, outputs=1),
    dict(context=131072, keys="q8_0", values="q4_0", outputs=1),
]
# Only shapes without memory behind them can have these.
LONG_CASES = [
    dict(context=131072),
    dict(context=131072, parallel=8, keys="q8_0", values="q8_0", outputs=8),
    dict(context=131072, flash=0),
    dict(context=1 << 20, outputs=1),
    dict(context=10485760, outputs=1),
]


class MemoryTests(unittest.TestCase):
    rows = []

    @classmethod
    def setUpClass(cls):
        llama_cpp.llama_log_set(keep, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="ingot-memory-"))

    @classmethod
    def tearDownClass(cls):
        for path in cls.folder.iterdir():
            path.unlink()
        cls.folder.rmdir()

    def compare(self, name, path, cases, is_real):
        peer = Peer(path, is_real)
        for case in cases:
            ours = estimate(path, case)
            theirs = peer.buffers({**case, "total_context": ours["total_context"]})
            host = ours["devices"][-1]
            with self.subTest(model=name, **case):
                if is_real:
                    self.assertLessEqual(abs(host["weights"] - peer.weights), ROUNDING)
                self.assertEqual(ours["cells"], theirs["cells"])
                # One line for each kind of layer, each rounded by itself.
                self.assertLessEqual(abs(ours["cache"] - theirs["cache"]), len(ours["cells"]) * 2 * ROUNDING)
                self.assertLessEqual(abs(host["compute"] - ours["outputs"] - theirs["compute"]), ROUNDING)
                self.assertLessEqual(abs(ours["outputs"] - theirs["outputs"]), ROUNDING)
            self.rows.append((name, case, ours, theirs, peer.weights if is_real else None))
        peer.close()

    def test_loaded_models(self):
        archive = self.folder / "llama3.gguf"
        for kind in ("F16", "Q4_K_M", "Q8_0"):
            subprocess.run([INGOT, "convert", ROOT / "Fixtures" / "models" / "llama3", "-o", archive, "--type", kind,
                            "--progress", "none"], check=True, capture_output=True)
            self.compare(f"llama3 {kind}", archive, CASES, True)
            archive.unlink()
        hollow(archive, "llama4", **SMALL_LLAMA4)
        self.compare("small Llama 4", archive, CASES, True)
        archive.unlink()

    def test_real_sizes(self):
        archive = self.folder / "hollow.gguf"
        for name, (architecture, shape) in REAL_SIZES.items():
            hollow(archive, architecture, **shape)
            self.compare(name, archive, CASES + LONG_CASES, False)
            archive.unlink()


def print_table(rows):
    def mib(count):
        return f"{count / 2**20:.2f}"

    print("| model | run | cache, ours | llama.cpp | compute, ours | llama.cpp |\n|---|---|---|---|---|---|")
    for name, case, ours, theirs, _ in rows:
        words = " ".join(f"{key}={value}" for key, value in case.items())
        compute = ours["devices"][-1]["compute"] - ours["outputs"]
        print(f"| {name} | {words} | {mib(ours['cache'])} | {mib(theirs['cache'])} | {mib(compute)} | "
              f"{mib(theirs['compute'])} |")


if __name__ == "__main__":
    wants_table = "--table" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--table"]
    program = unittest.main(exit=False)
    if wants_table:
        print_table(MemoryTests.rows)
    sys.exit(not program.result.wasSuccessful())
