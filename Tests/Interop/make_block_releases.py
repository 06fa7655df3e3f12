"""Makes Fixtures/golden/carried-blocks: releases in NVFP4 and MXFP4, and what archives of them hold.

    python make_block_releases.py FIXTURES

needs torch, safetensors, gguf, and the converter that INGOT_PEERS names (setup-peers.sh). The NVFP4 releases go through that
converter; expected.tsv lists the tensors of its archives. It does not carry MXFP4 over for dense models: there
the expected bytes are made here, by the layout of gguf-py's MXFP4, and checked against its `dequantize`.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import zlib
from importlib.metadata import version
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

fixtures = Path(sys.argv[1])
out = fixtures / "golden" / "carried-blocks"
generator = torch.Generator().manual_seed(20261121)
HIDDEN, FORWARD, HEADS, KEY_HEADS, VOCABULARY = 64, 128, 2, 1, 2048
MODULES = {
    "self_attn.q_proj": (HEADS * 32, HIDDEN), "self_attn.k_proj": (KEY_HEADS * 32, HIDDEN),
    "self_attn.v_proj": (KEY_HEADS * 32, HIDDEN), "self_attn.o_proj": (HIDDEN, HEADS * 32),
    "mlp.gate_proj": (FORWARD, HIDDEN), "mlp.up_proj": (FORWARD, HIDDEN), "mlp.down_proj": (HIDDEN, FORWARD),
}


def bytes_(low, high, *shape):
    return torch.randint(low, high, shape, generator=generator).to(torch.uint8)


def number(low, high):
    return torch.rand(1, generator=generator)[0] * (high - low) + low


def modelopt(name, rows, columns):
    return {
        f"{name}.weight": bytes_(0, 256, rows, columns // 2),
        # Subnormal, ordinary and the largest scales; no NaN.
        f"{name}.weight_scale": bytes_(0, 0x7F, rows, columns // 16).view(torch.float8_e4m3fn),
        f"{name}.weight_scale_2": number(1e-5, 1e-4), f"{name}.input_scale": number(1e-3, 1e-2),
    }


def compressed(name, rows, columns):
    return {
        f"{name}.weight_packed": bytes_(0, 256, rows, columns // 2),
        f"{name}.weight_scale": bytes_(0, 0x7F, rows, columns // 16).view(torch.float8_e4m3fn),
        f"{name}.weight_global_scale": number(5000, 20000).reshape(1),
        f"{name}.input_global_scale": number(50, 500).reshape(1),
    }


def mxfp4(name, rows, columns):
    return {
        f"{name}.weight_packed": bytes_(0, 256, rows, columns // 2),
        f"{name}.weight_scale": bytes_(100, 130, rows, columns // 32),
    }


def scheme(name, bits, group, strategy):
    weights = {"num_bits": bits, "type": "float", "symmetric": True, "strategy": strategy, "group_size": group}
    return {
        "quant_method": "compressed-tensors", "format": name,
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, "format": name}},
    }


RELEASES = {
    "modelopt": (modelopt, {"quant_method": "modelopt", "quant_algo": "NVFP4"}),
    "compressed": (compressed, scheme("nvfp4-pack-quantized", 4, 16, "tensor_group")),
    "mxfp4": (mxfp4, scheme("mxfp4-pack-quantized", 4, 32, "group")),
}


def make(kind, make_module, quantization):
    folder = out / kind
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for module, shape in MODULES.items():
        tensors |= make_module(f"model.layers.0.{module}", *shape)
    untied = kind == "modelopt"
    if untied:
        tensors |= make_module("lm_head", VOCABULARY, HIDDEN)
    embedding = torch.zeros(VOCABULARY, HIDDEN)
    embedding[:64] = torch.eye(64)
    tensors["model.embed_tokens.weight"] = embedding.to(torch.bfloat16)
    for norm in ["model.norm", "model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm"]:
        tensors[f"{norm}.weight"] = torch.ones(HIDDEN, dtype=torch.bfloat16)
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors",
        metadata={"quantization_config": json.dumps(quantization)})
    config = json.loads((fixtures / "models" / "llama3" / "config.json").read_text())
    config |= {
        "hidden_size": HIDDEN, "intermediate_size": FORWARD, "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS, "num_hidden_layers": 1, "tie_word_embeddings": not untied,
        "quantization_config": quantization,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    return folder, tensors


def line(kind, name, type_, shape, data):
    return "\t".join([kind, name, type_, ",".join(map(str, shape)), str(zlib.crc32(data))])


def converted(kind, folder):
    with tempfile.TemporaryDirectory() as work:
        model = Path(work) / kind
        shutil.copytree(folder, model)
        for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]:
            shutil.copy(fixtures / "models" / "llama3" / name, model / name)
        archive = Path(work) / "archive.gguf"
        subprocess.run(
            [sys.executable, Path(__file__).with_name("reference_convert.py"), "llama-bpe", model, archive, "bf16"],
            check=True)
        reader = gguf.GGUFReader(archive)
        for tensor in reader.tensors:
            yield line(
                kind, tensor.name, tensor.tensor_type.name, [int(n) for n in reversed(tensor.shape)],
                tensor.data.tobytes())
        yield "\t".join([kind, "general.file_type", "-", "-", str(reader.get_field("general.file_type").contents())])


def permuted(tensor, heads):
    """Rows in the archive's order: pairs of halves become neighbours."""
    return tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(tensor.shape)


def made(kind, tensors):
    names = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
             "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}
    for module, (rows, columns) in MODULES.items():
        codes = tensors[f"model.layers.0.{module}.weight_packed"].numpy().reshape(rows, columns // 32, 16)
        scales = tensors[f"model.layers.0.{module}.weight_scale"].numpy()
        heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": KEY_HEADS}.get(module)
        if heads:
            codes, scales = permuted(codes.reshape(rows, -1), heads).reshape(codes.shape), permuted(scales, heads)
        values = np.stack([codes & 15, codes >> 4], axis=-1).reshape(rows, columns // 32, 32)
        blocks = np.concatenate([scales[..., None], values[..., :16] | values[..., 16:] << 4], axis=-1)
        blocks = np.ascontiguousarray(blocks.astype(np.uint8).reshape(rows, -1))
        table = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], dtype=np.float32)
        plain = table[values] * np.exp2(scales.astype(np.float32) - 127)[..., None]
        found = gguf.dequantize(blocks, gguf.GGMLQuantizationType.MXFP4)
        assert np.array_equal(found, plain.reshape(rows, columns)), module
        yield line(kind, f"blk.0.{names[module.split('.')[1]]}.weight", "MXFP4", (rows, columns), blocks.tobytes())


lines = ["# release\tname\ttype\tshape, row-major\tCRC-32 of the bytes, or the value"]
for kind, (make_module, quantization) in RELEASES.items():
    folder, tensors = make(kind, make_module, quantization)
    lines += made(kind, tensors) if kind == "mxfp4" else converted(kind, folder)
lines.append(f"# origin: convert_hf_to_gguf.py with gguf {version('gguf')}")
(out / "expected.tsv").write_text("\n".join(lines) + "\n")
