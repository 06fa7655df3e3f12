#!/usr/bin/env python3
"""Writes a Llama 4 of real shapes whose weights are holes: headers to plan from, bytes that read as zero.

    make_sparse_checkpoint.py scout|maverick|behemoth DIRECTORY TOKENIZER_DIRECTORY [LAYERS]

Takes next to no disk. Scout and Maverick have the published shapes; Behemoth's are not published: these give
2 T weights with 16 experts. TOKENIZER_DIRECTORY has tokenizer.json and tokenizer_config.json.
"""
import json
import os
import struct
import sys

SHAPES = {
    "scout": dict(hidden=5120, expert=8192, dense=16384, layers=48, heads=40, kv=8, experts=16, step=1),
    "maverick": dict(hidden=5120, expert=8192, dense=16384, layers=48, heads=40, kv=8, experts=128, step=2),
    "behemoth": dict(hidden=16384, expert=24576, dense=49152, layers=96, heads=128, kv=8, experts=16, step=1),
}
VOCABULARY = 202_048
HEAD = 128


def tensors(s, layers):
    h, f = s["hidden"], s["expert"]
    yield "language_model.model.embed_tokens.weight", [VOCABULARY, h]
    for layer in range(layers):
        p = f"language_model.model.layers.{layer}."
        yield p + "input_layernorm.weight", [h]
        yield p + "post_attention_layernorm.weight", [h]
        yield p + "self_attn.q_proj.weight", [s["heads"] * HEAD, h]
        yield p + "self_attn.k_proj.weight", [s["kv"] * HEAD, h]
        yield p + "self_attn.v_proj.weight", [s["kv"] * HEAD, h]
        yield p + "self_attn.o_proj.weight", [h, s["heads"] * HEAD]
        if (layer + 1) % s["step"]:
            yield p + "feed_forward.gate_proj.weight", [s["dense"], h]
            yield p + "feed_forward.up_proj.weight", [s["dense"], h]
            yield p + "feed_forward.down_proj.weight", [h, s["dense"]]
            continue
        yield p + "feed_forward.router.weight", [s["experts"], h]
        yield p + "feed_forward.experts.gate_up_proj", [s["experts"], h, 2 * f]
        yield p + "feed_forward.experts.down_proj", [s["experts"], f, h]
        yield p + "feed_forward.shared_expert.gate_proj.weight", [f, h]
        yield p + "feed_forward.shared_expert.up_proj.weight", [f, h]
        yield p + "feed_forward.shared_expert.down_proj.weight", [h, f]
    yield "language_model.model.norm.weight", [h]
    yield "language_model.lm_head.weight", [VOCABULARY, h]


def main():
    name, folder, tokenizer = sys.argv[1:4]
    shape = SHAPES[name]
    layers = int(sys.argv[4]) if len(sys.argv) > 4 else shape["layers"]
    os.makedirs(folder, exist_ok=True)
    text = dict(
        model_type="llama4_text", hidden_size=shape["hidden"], intermediate_size=shape["expert"],
        intermediate_size_mlp=shape["dense"], num_hidden_layers=layers, num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kv"], head_dim=HEAD, vocab_size=VOCABULARY, num_local_experts=shape["experts"],
        num_experts_per_tok=1, interleave_moe_layer_step=shape["step"], max_position_embeddings=10_485_760,
        rms_norm_eps=1e-5, rope_theta=500_000.0, use_qk_norm=shape["experts"] != 128, attention_chunk_size=8192,
        attn_temperature_tuning=4, floor_scale=8192, attn_scale=0.1, tie_word_embeddings=False,
        no_rope_layers=[int((i + 1) % 4 != 0) for i in range(layers)],
    )
    with open(f"{folder}/config.json", "w") as file:
        json.dump(dict(architectures=["Llama4ForConditionalGeneration"], model_type="llama4", text_config=text), file)
    for part in ["tokenizer.json", "tokenizer_config.json"]:
        target = f"{folder}/{part}"
        if not os.path.exists(target) and os.path.exists(f"{tokenizer}/{part}"):
            os.symlink(os.path.abspath(f"{tokenizer}/{part}"), target)
    # One file per layer, and one for the rest.
    groups = {}
    for tensor, dimensions in tensors(shape, layers):
        parts = tensor.split(".")
        groups.setdefault(int(parts[3]) + 1 if parts[2] == "layers" else 0, []).append((tensor, dimensions))
    names = {group: f"model-{i + 1:05}-of-{len(groups):05}.safetensors" for i, group in enumerate(sorted(groups))}
    index = {}
    for group, members in groups.items():
        header, offset = {}, 0
        for tensor, dimensions in members:
            size = 2
            for dimension in dimensions:
                size *= dimension
            header[tensor] = dict(dtype="BF16", shape=dimensions, data_offsets=[offset, offset + size])
            offset += size
            index[tensor] = names[group]
        encoded = json.dumps(header).encode()
        encoded += b" " * (-len(encoded) % 8)
        with open(f"{folder}/{names[group]}", "wb") as file:
            file.write(struct.pack("<Q", len(encoded)) + encoded)
            file.truncate(8 + len(encoded) + offset)
    with open(f"{folder}/model.safetensors.index.json", "w") as file:
        json.dump(dict(metadata={}, weight_map=index), file)


main()
