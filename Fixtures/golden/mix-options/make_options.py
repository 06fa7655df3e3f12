#!/usr/bin/env python3
"""Records what llama-quantize --dry-run chooses for small headers and unusual options.

usage: make_options.py LLAMA_QUANTIZE OUT.json     (needs gguf-py)

The models are only large enough to have the shapes that matter; their weights are zeros.
"""
import json, os, re, subprocess, sys, tempfile
import gguf
import numpy as np

quantize, out = sys.argv[1:]


def layers(count, heads, kv_heads, embedding=256, feed_forward=512, experts=0, extra=()):
    head = embedding // heads
    tensors = {"token_embd.weight": [64, embedding], "output_norm.weight": [embedding], "output.weight": [64, embedding]}
    for i in range(count):
        p = f"blk.{i}."
        tensors |= {
            p + "attn_norm.weight": [embedding], p + "attn_q.weight": [embedding, embedding],
            p + "attn_k.weight": [kv_heads * head, embedding], p + "attn_v.weight": [kv_heads * head, embedding],
            p + "attn_output.weight": [embedding, embedding], p + "ffn_norm.weight": [embedding],
        }
        e = [experts] if experts else []
        s = "_exps" if experts else ""
        tensors |= {
            p + f"ffn_gate{s}.weight": e + [feed_forward, embedding], p + f"ffn_up{s}.weight": e + [feed_forward, embedding],
            p + f"ffn_down{s}.weight": e + [embedding, feed_forward],
        }
        if experts:
            tensors[p + "ffn_gate_inp.weight"] = [experts, embedding]
    return tensors | dict(extra)


def untied(tensors):
    return {k: v for k, v in tensors.items() if k != "output.weight"}


def falcon(count):
    t = {"token_embd.weight": [64, 256], "output_norm.weight": [256], "output.weight": [64, 256]}
    for i in range(count):
        p = f"blk.{i}."
        t |= {p + "attn_norm.weight": [256], p + "attn_qkv.weight": [320, 256], p + "attn_output.weight": [256, 256],
              p + "ffn_up.weight": [1024, 256], p + "ffn_down.weight": [256, 1024]}
    return t


def special(names):
    """Matrices whose names matter, in one layer."""
    return {"token_embd.weight": [64, 256], "output.weight": [64, 256]} | {
        f"blk.0.{n}": [4, 256, 256] if "stack" in n or "exps" in n else [256, 256] for n in names.split()}


# Metadata without which the reference does not read these architectures.
LATENT = {
    "attention.key_length_mla": 32, "attention.value_length_mla": 32, "attention.q_lora_rank": 32,
    "attention.kv_lora_rank": 32, "ssm.conv_kernel": 4, "kda.head_dim": 32, "kda.gate_lower_bound": -1.0,
    "expert_feed_forward_length": 256, "expert_shared_count": 1, "leading_dense_block_count": 0,
    "expert_gating_func": 2, "attention.indexer.head_count": 1, "attention.indexer.key_length": 32,
    "attention.indexer.top_k": 4, "attention.indexer.kpool": 2, "hyper_connection.count": 4,
    "hyper_connection.sinkhorn_iterations": 1, "hyper_connection.epsilon": 1e-5,
}

# name: (architecture, layers, heads, key-value heads, experts, tensors)
models = {
    "dense": ("llama", 16, 8, 8, 0, layers(16, 8, 8)),
    "tied": ("llama", 8, 8, 2, 0, untied(layers(8, 8, 2))),
    "80-layers-pairs": ("llama", 80, 8, 4, 0, layers(80, 8, 4)),
    "80-layers-ungrouped": ("llama", 80, 8, 8, 0, layers(80, 8, 8)),
    "rows-of-320-and-544": ("llama", 8, 8, 8, 0, layers(8, 8, 8, embedding=320, feed_forward=544)),
    "rows-of-96-and-100": ("llama", 4, 4, 4, 0, layers(4, 4, 4, embedding=96, feed_forward=100)),
    "tied-rows-of-320": ("llama", 4, 4, 4, 0, untied(layers(4, 4, 4, embedding=320, feed_forward=512))),
    "4-experts": ("llama", 16, 8, 8, 4, layers(16, 8, 8, experts=4)),
    "8-experts-80-layers": ("llama", 80, 8, 2, 8, layers(80, 8, 2, experts=8)),
    "falcon": ("falcon", 32, 8, 1, 0, falcon(32)),
} | {
    f"{arch}-{count}-{kv}": (arch, count, 8, kv, 0, {f"blk.{i}.attn_v.weight": [32, 256] for i in range(count)})
    for arch, count, kv in [
        ("llama-embed", 80, 4), ("llama-embed", 80, 8), ("qwen2", 80, 8), ("qwen2", 64, 8), ("olmo", 80, 8), ("deci", 80, 8),
        ("jais2", 68, 8), ("jais2", 80, 8),
    ]
} | {
    "bailingmoe3": ("bailingmoe3", 1, 8, 8, 4, special(
        "attn_k_b.stack.weight attn_q.weight ffn_down_exps.weight ffn_gate_exps.weight ffn_up_exps.weight")),
    "glm5-next": ("glm5-next", 1, 8, 8, 4, special(
        "attn_q_a.weight attn_q_b.weight nextn.eh_proj.weight attn_q.weight hc_attn.weight indexer.attn_q_b.weight "
        "indexer.attn_k.weight indexer.proj.weight indexer_compressor_gate.weight indexer_compressor_ape.weight "
        "ssm_f_a.weight ssm_f_b.weight ssm_g_a.weight ssm_g_b.weight ssm_beta.weight attn_kv_a_mqa.weight "
        "attn_k_b.weight attn_v_b.weight attn_kv_b.weight ffn_down_exps.weight")),
    "kept-names": ("llama", 1, 8, 8, 0, special(
        "attn_q_norm.weight ffn_gate_tid2eid.weight altup.weight laurel.weight per_layer_model_proj.weight "
        "ssm_conv1d.weight shortconv.conv.weight indexer.k_proj.weight indexer.q_proj.weight "
        "attn_rel_b.weight attn_q_a.weight hc_attn.weight plain_stack.weight "
        + " ".join(f"time_mix_{n}.weight" for n in "first w0 w1 w2 v0 v1 v2 a0 a1 a2 g1 g2 decay_w1 decay_w2 lerp_fused".split())
    ) | {n: [256, 256] for n in "position_embd.weight token_types.weight v.position_embd.weight sam.pos_embd.weight "
         "sam.neck.weight sam.net_2.weight x.rel_pos.weight v.patch_embd.weight v.patch_merger.weight "
         "a.rvq.codebook.weight mm.a.code_embd.weight plain.weight plain.bias plain.weights".split()}),
    "unusual-names": ("llama", 2, 8, 8, 0, layers(2, 8, 8, extra={
        "blk.0.attn_v.bias": [256], "blk.0.ffn_down.scale": [256, 256], "per_layer_token_embd.weight": [64, 256],
        "blk.1.other.weight": [256, 256], "blk.1.row.weight": [1, 256], "blk.1.stack.weight": [2, 1, 256]}.items())),
}

MIXES = "Q1_0 Q2_0 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q2_K_S Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ2_M IQ3_XXS IQ3_XS IQ3_S IQ3_M IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4_MOE F16 BF16 F32".split()

runs = [(model, mix, []) for model in models if model != "unusual-names" for mix in MIXES
        if "-80-" not in model and "-68-" not in model and "-64-" not in model or mix in ("Q2_K", "Q4_K_M")]
for mix in ["Q4_K_M", "IQ2_M", "Q8_0", "F16"]:
    for model in ["dense", "tied", "unusual-names", "4-experts"]:
        for options in [
            ["--pure"],
            ["--leave-output-tensor"],
            ["--output-tensor-type", "q8_0"],
            ["--output-tensor-type", "f16", "--pure"],
            ["--token-embedding-type", "Q5_K"],
            ["--token-embedding-type", "bf16", "--output-tensor-type", "iq4_nl"],
            ["--token-embedding-type", "Q5_K", "--tensor-type", "token_embd=q2_k"],
            ["--tensor-type", "attn_v=q8_0"],
            # Overridden tensors are not counted: later ones take the earlier ones' turns.
            ["--tensor-type", r"blk\.[0-3]\.attn_v=q5_1"],
            ["--tensor-type", r"blk\.[0-3]\.FFN_Down=q5_1", "--tensor-type", "ffn_down=iq4_xs"],
            ["--tensor-type", r"(gate|up)=f16", "--tensor-type", r"^token=q6_k", "--pure"],
            ["--tensor-type", r"output\.weight$=q3_k", "--tensor-type", r"\Dlk=f16"],
            ["--tensor-type", r"attn_[^qk]+\.weight=tq1_0", "--leave-output-tensor"],
            ["--tensor-type", "norm=f16", "--tensor-type", "inp=f16", "--tensor-type", "scale=f16"],
        ]:
            runs.append((model, mix, options))

LINE = re.compile(r"^\[ *\d+/ *\d+\]\s+(\S+)\s+- \[.*?\], type =\s+(\S+), size = .*?(?:\((\S+)\))?$")
with tempfile.TemporaryDirectory() as folder:
    result = {
        "origin": "Fixtures/golden/mix-options/make_options.py with llama-quantize --dry-run of llama.cpp, October 2026",
        "models": {}, "runs": [],
    }
    for name, (arch, count, heads, kv, experts, tensors) in models.items():
        w = gguf.GGUFWriter(f"{folder}/{name}.gguf", arch)
        w.add_block_count(count); w.add_context_length(64); w.add_embedding_length(256); w.add_feed_forward_length(512)
        w.add_head_count(heads); w.add_head_count_kv(kv); w.add_layer_norm_rms_eps(1e-5); w.add_layer_norm_eps(1e-5)
        w.add_vocab_size(64)
        if experts:
            w.add_expert_count(experts); w.add_expert_used_count(2)
        for key, value in LATENT.items() if arch in ("bailingmoe3", "glm5-next") else ():
            (w.add_float32 if isinstance(value, float) else w.add_uint32)(f"{arch}.{key}", value)
        for tensor, shape in tensors.items():
            w.add_tensor(tensor, np.zeros(shape, np.float32))
        w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
        result["models"][name] = {
            "architecture": arch, "block_count": count, "head_count": heads, "head_count_kv": kv, "expert_count": experts,
            "tensors": [[k, v] for k, v in tensors.items()]}
    for model, mix, options in runs:
        index = {k: i for i, k in enumerate(models[model][5])}
        p = subprocess.run([quantize, "--dry-run", *options, f"{folder}/{model}.gguf", mix], capture_output=True, text=True)
        types = {}
        for line in (p.stdout + p.stderr).splitlines():
            if m := LINE.match(line):
                types.setdefault((m[3] or m[2]).upper(), []).append(index[m[1]])
        run = {"model": model, "mix": mix, "options": options}
        if p.returncode:
            why = [l for l in (p.stdout + p.stderr).splitlines() if "failed to quantize" in l or "assert" in l.lower()]
            assert why and "fallback" in why[0], (run, p.stderr)
            run["refused"] = why[0].split("failed to quantize: ")[-1]
        else:
            assert sum(map(len, types.values())) == len(index), (run, p.stdout + p.stderr)
            run["types"] = types
            run["needs_importance"] = "will require an imatrix" in p.stdout + p.stderr
        result["runs"].append(run)
    lines = json.dumps(result, separators=(",", ":")).replace('{"model":', '\n{"model":')
    open(out, "w").write(lines + "\n")
    print(len(result["runs"]), "runs,", sum("refused" in r for r in result["runs"]), "refused:", {r["refused"] for r in result["runs"] if "refused" in r})
