"""A layer of Llama 4 Scout's widths, as safetensors and as Meta's shards: how much longer the shards take.

    swift build -c release
    python Sources/Benchmarks/Conversions/llama4_layer.py LLAMA4 /tmp/work [--shards 8] [--rounds 7] [--type Q8_0]

LLAMA4 is any checkpoint of a Llama 4, whose config.json and tokenizer are taken. Needs torch and
safetensors. Writes the model in both forms, 2 experts and 0.9 GB, then converts them in turns, the
page cache warm. Medians; a ratio is the median of the ratios within rounds.
"""

import argparse
import filecmp
import json
import multiprocessing
import pathlib
import shutil
import statistics

from compare import INGOT, measure

WIDTH, INNER, EXPERTS, VOCABULARY, HEADS, KV_HEADS = 5120, 8192, 2, 2048, 40, 8


def write(model, hub, native, count):
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(1)

    def random(*shape):
        return (torch.rand(*shape, generator=generator) - 0.5).bfloat16()

    shards, tensors = [{} for _ in range(count)], {}

    def put(name, parts):
        for shard, part in zip(shards, parts):
            shard[name] = part.contiguous().clone()

    def both(name, here, tensor, dimension):
        tensors["language_model." + name] = tensor
        put(here, tensor.chunk(count, dimension) if dimension is not None else [tensor] * count)

    both("model.embed_tokens.weight", "tok_embeddings.weight", random(VOCABULARY, WIDTH), 0)
    both("lm_head.weight", "output.weight", random(VOCABULARY, WIDTH), 0)
    both("model.norm.weight", "norm.weight", random(WIDTH), None)
    layer, here = "language_model.model.layers.0.", "layers.0."
    p, q = "model.layers.0.", here + "attention."
    both(p + "input_layernorm.weight", q + "wqkv.layer_norm_weight", random(WIDTH), None)
    heads = [random(WIDTH, WIDTH), random(KV_HEADS * 128, WIDTH), random(KV_HEADS * 128, WIDTH)]
    for name, tensor in zip("qkv", heads):
        tensors[f"{layer}self_attn.{name}_proj.weight"] = tensor
    put(q + "wqkv.weight", map(torch.cat, zip(*(tensor.chunk(count) for tensor in heads))))
    both(p + "self_attn.o_proj.weight", q + "wo.weight", random(WIDTH, WIDTH), 1)
    p, q = p + "feed_forward.", here + "feed_forward."
    both("model.layers.0.post_attention_layernorm.weight", q + "norm.weight", random(WIDTH), None)
    both(p + "shared_expert.gate_proj.weight", q + "w_in_shared_FD.weight", random(INNER, WIDTH), 0)
    both(p + "shared_expert.up_proj.weight", q + "w_swiglu_FD.weight", random(INNER, WIDTH), 0)
    both(p + "shared_expert.down_proj.weight", q + "w_out_shared_DF.weight", random(WIDTH, INNER), 1)
    tensors[layer + "feed_forward.router.weight"] = router = random(EXPERTS, WIDTH)
    put(q + "router_DE", [router.T] * count)
    gate, up, down = random(EXPERTS, WIDTH, INNER), random(EXPERTS, WIDTH, INNER), random(EXPERTS, INNER, WIDTH)
    tensors[layer + "feed_forward.experts.gate_up_proj"] = torch.cat([gate, up], -1)
    tensors[layer + "feed_forward.experts.down_proj"] = down
    for name, tensor, dimension in [("in_eD_F", gate, 2), ("swiglu_eD_F", up, 2), ("out_eF_D", down, 1)]:
        put(f"{q}experts.moe_w_{name}", [x.flatten(0, 1) for x in tensor.chunk(count, dimension)])

    config = json.loads((model / "config.json").read_text())
    config["text_config"].update(
        hidden_size=WIDTH, intermediate_size=INNER, intermediate_size_mlp=2 * INNER, num_hidden_layers=1,
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, head_dim=128, num_local_experts=EXPERTS,
        no_rope_layers=[1], moe_layers=[0], interleave_moe_layer_step=1, vocab_size=VOCABULARY)
    text = config["text_config"]
    parameters = {
        "dim": WIDTH, "n_layers": 1, "n_heads": HEADS, "n_kv_heads": KV_HEADS, "vocab_size": VOCABULARY,
        "norm_eps": text["rms_norm_eps"], "rope_theta": text["rope_theta"], "use_scaled_rope": True,
        "attention_chunk_size": text["attention_chunk_size"], "nope_layer_interval": 4,
        "use_qk_norm": text["use_qk_norm"], "ffn_exp": 4.0, "multiple_of": 256, "ffn_dim_multiplier": 1.19,
        "moe_args": {"num_experts": EXPERTS, "capacity_factor": 1.0, "auto_scale_F": True,
                     "top_k": text["num_experts_per_tok"], "interleave_moe_layer_step": 1},
    }
    for folder in (hub, native):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(model / name, folder / name)
    save_file(tensors, hub / "model.safetensors", metadata={"format": "pt"})
    for rank, shard in enumerate(shards):
        torch.save(shard, native / f"consolidated.{rank:02d}.pth")
    (native / "params.json").write_text(json.dumps(parameters))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--type", default="Q8_0")
    options = parser.parse_args()
    # One folder name for both: it becomes the model's name in the archive.
    folders = {"safetensors": options.work / "hub/model", "Meta": options.work / "native/model"}
    if not folders["Meta"].exists():
        # In a process of its own: a child's peak begins with that of the process that starts it.
        writing = multiprocessing.Process(target=write, args=(options.model, *folders.values(), options.shards))
        writing.start()
        writing.join()
    outputs = {form: options.work / f"{form}.gguf" for form in folders}

    def convert(form):
        return [INGOT, "convert", str(folders[form]), "-o", str(outputs[form]), "--type", options.type,
                "--progress", "none", "--no-provenance"]

    runs = {form: [] for form in folders}
    for turn in range(options.rounds):
        for form in list(folders)[::1 if turn % 2 else -1]:
            runs[form].append(measure([convert(form)], []))
        assert filecmp.cmp(*outputs.values(), shallow=False), "the archives differ"
        for output in outputs.values():
            output.unlink()
    print("| type | form | wall s | × | CPU s | × | peak MiB |\n|---|---|---|---|---|---|---|")
    for form, rows in runs.items():
        cells = []
        for key in ("wall", "cpu"):
            cells.append(f"{statistics.median(row[key] for row in rows):.2f}")
            ratio = statistics.median(row[key] / other[key] for row, other in zip(rows, runs["safetensors"]))
            cells.append(f"{ratio:.2f}")
        peak = statistics.median(row["peakMiB"] for row in rows)
        print(f"| {options.type} | {form} | {' | '.join(cells)} | {peak:.0f} |")


if __name__ == "__main__":
    main()
