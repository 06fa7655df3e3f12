"""Makes Fixtures/models/random: configurations of random models with experts or a vision tower, and what peers make of
them.

    INGOT_PEERS=DIR python make_expert_models.py OUT [WORK]

needs torch, safetensors, transformers and llama.cpp's converter and strict quantizer on the PATH. The weights
are not kept: `weights` below and RandomCheckpoint in Tests/TestSupport make the same ones from their names.
NAME.json holds

    config    config.json
    tensors   name, shape, centre and spread of every tensor
    files     other files of the checkpoint, by name
    archives  by type: every tensor's type, dimensions (GGUF order) and CRC-32 of its data, and for F32 the metadata
    projector the same for the vision tower's archive, with the metadata and the CRC-32 of the whole file
    tokens    of the text that the logits are for
    logits    by configuration: file with float32 logits of every eighth position, by transformers in float32
"""

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

ROOT = Path(__file__).parents[2]
out = Path(sys.argv[1])
work = Path(sys.argv[2] if len(sys.argv) > 2 else "/tmp/expert-models")
out.mkdir(parents=True, exist_ok=True)
vocabulary, hidden, head, heads, key_heads = 2048, 64, 16, 4, 2


def weights(name, shape, centre, spread):
    """SplitMix64 seeded with the FNV-1a hash of the name; 24 bits of each number; BF16 by truncation."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        state = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ state >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ state >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        state = state ^ state >> np.uint64(31)
    number = ((state >> np.uint64(40)).astype(np.int64) - 2**23).astype(np.float32) * np.float32(2.0**-23)
    value = np.float32(centre) + number * np.float32(spread)
    bits = (value.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return torch.from_numpy(bits.view(np.int16).copy()).view(torch.bfloat16).reshape(shape)


def attention(prefix):
    return [
        [prefix + "input_layernorm.weight", [hidden], 1, 0.25],
        [prefix + "post_attention_layernorm.weight", [hidden], 1, 0.25],
        [prefix + "self_attn.q_proj.weight", [heads * head, hidden], 0, 0.5],
        [prefix + "self_attn.k_proj.weight", [key_heads * head, hidden], 0, 0.5],
        [prefix + "self_attn.v_proj.weight", [key_heads * head, hidden], 0, 0.25],
        [prefix + "self_attn.o_proj.weight", [hidden, heads * head], 0, 0.25],
    ]


def frame(prefix):
    return [
        [prefix + "model.embed_tokens.weight", [vocabulary, hidden], 0, 1],
        [prefix + "model.norm.weight", [hidden], 1, 0.25],
        [prefix + "lm_head.weight", [vocabulary, hidden], 0, 0.5],
    ]


def llama4(layers, experts, width, dense_width, step, used=1, vision=False, **changes):
    text = {
        "model_type": "llama4_text", "hidden_size": hidden, "intermediate_size": width,
        "intermediate_size_mlp": dense_width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": key_heads, "head_dim": head, "num_local_experts": experts, "num_experts_per_tok": used,
        "interleave_moe_layer_step": step, "rms_norm_eps": 1e-5, "vocab_size": vocabulary, "hidden_act": "silu",
        "max_position_embeddings": 1024, "attention_chunk_size": 8192, "floor_scale": 8192, "attn_scale": 0.1,
        "attn_temperature_tuning": True, "use_qk_norm": True, "no_rope_layers": [], "rope_theta": 500000.0,
        "rope_scaling": {"rope_type": "llama3", "factor": 16.0, "high_freq_factor": 1.0, "low_freq_factor": 1.0,
                         "original_max_position_embeddings": 64},
        "tie_word_embeddings": False, "torch_dtype": "bfloat16", **changes,
    }
    config = {"architectures": ["Llama4ForConditionalGeneration"], "model_type": "llama4", "text_config": text}
    tensors = frame("language_model.")
    for layer in range(layers):
        prefix = f"language_model.model.layers.{layer}."
        tensors += attention(prefix)
        ffn = prefix + "feed_forward."
        if (layer + 1) % step:
            tensors += [[ffn + f"{name}_proj.weight", [dense_width, hidden], 0, 0.25] for name in ("gate", "up")]
            tensors += [[ffn + "down_proj.weight", [hidden, dense_width], 0, 0.25]]
            continue
        tensors += [
            [ffn + "router.weight", [experts, hidden], 0, 1],
            [ffn + "experts.gate_up_proj", [experts, hidden, 2 * width], 0, 0.5],
            [ffn + "experts.down_proj", [experts, width, hidden], 0, 0.5],
        ]
        tensors += [[ffn + f"shared_expert.{name}_proj.weight", [width, hidden], 0, 0.25] for name in ("gate", "up")]
        tensors += [[ffn + "shared_expert.down_proj.weight", [hidden, width], 0, 0.25]]
    if vision:
        config["vision_config"], tower = llama4_vision()
        return config, tensors + tower
    tensors += [["vision_model.class_embedding", [32], 0, 1], ["multi_modal_projector.linear_1.weight", [64, 32], 0, 1]]
    return config, tensors


def llama4_vision(width=32, layers=3, size=56, projected=48):
    """A tower whose projector has rows that are no whole blocks. With fewer layers, the converter maps no fc2."""
    config = {
        "model_type": "llama4_vision_model", "hidden_act": "gelu", "hidden_size": width, "image_size": size,
        "intermediate_size": 4 * width, "norm_eps": 1e-5, "num_attention_heads": 2, "num_channels": 3,
        "num_hidden_layers": layers, "patch_size": 14, "pixel_shuffle_ratio": 0.5, "projector_input_dim": projected,
        "projector_output_dim": projected, "rope_theta": 10000, "vision_output_dim": projected,
    }
    linear = lambda name, rows, columns: [[name + ".weight", [rows, columns], 0, 0.25], [name + ".bias", [rows], 0, 0.25]]
    norm = lambda name: [[name + ".weight", [width], 1, 0.25], [name + ".bias", [width], 0, 0.25]]
    tensors = [
        ["vision_model.class_embedding", [width], 0, 1],
        ["vision_model.positional_embedding_vlm", [(size // 14) ** 2 + 1, width], 0, 0.25],
        ["vision_model.patch_embedding.linear.weight", [width, 3 * 14 * 14], 0, 0.25],
        ["vision_model.vision_adapter.mlp.fc1.weight", [projected, 4 * width], 0, 0.25],
        ["vision_model.vision_adapter.mlp.fc2.weight", [projected, projected], 0, 0.25],
        ["multi_modal_projector.linear_1.weight", [hidden, projected], 0, 0.25],
    ]
    tensors += norm("vision_model.layernorm_pre") + norm("vision_model.layernorm_post")
    for layer in range(layers):
        prefix = f"vision_model.model.layers.{layer}."
        tensors += norm(prefix + "input_layernorm") + norm(prefix + "post_attention_layernorm")
        for name in "qkvo":
            tensors += linear(f"{prefix}self_attn.{name}_proj", width, width)
        tensors += linear(prefix + "mlp.fc1", 4 * width, width) + linear(prefix + "mlp.fc2", width, 4 * width)
    return config, tensors


def mllama(layers, cross, width):
    """Llama 3.2 Vision: layers with cross-attention among those of a Llama 3.1, eight rows behind the vocabulary."""
    text = {
        "model_type": "mllama_text_model", "hidden_size": hidden, "intermediate_size": width,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": key_heads,
        "cross_attention_layers": cross, "rms_norm_eps": 1e-5, "vocab_size": vocabulary, "hidden_act": "silu",
        "max_position_embeddings": 1024, "rope_theta": 500000.0, "pad_token_id": 0,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                         "original_max_position_embeddings": 64},
        "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    }
    vision = {
        "model_type": "mllama_vision_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
        "num_global_layers": 1, "attention_heads": 2, "image_size": 28, "patch_size": 14, "max_num_tiles": 4,
        "vision_output_dim": 64, "intermediate_layers_indices": [0],
    }
    config = {"architectures": ["MllamaForConditionalGeneration"], "model_type": "mllama",
              "image_token_index": vocabulary, "text_config": text, "vision_config": vision}
    prefix = "language_model."
    tensors = frame(prefix)
    tensors[0][1] = [vocabulary + 8, hidden]
    for layer in range(layers):
        name = f"{prefix}model.layers.{layer}."
        own = attention(name)
        if layer in cross:
            own = own[:2] + [[t[0].replace("self_attn", "cross_attn")] + t[1:] for t in own[2:]]
            own += [[f"{name}cross_attn.{part}_norm.weight", [head], 1, 0.25] for part in "qk"]
            own += [[f"{name}cross_attn_{part}_gate", [1], 0, 1] for part in ("attn", "mlp")]
        tensors += own + [[f"{name}mlp.{part}_proj.weight", [width, hidden], 0, 0.25] for part in ("gate", "up")]
        tensors += [[name + "mlp.down_proj.weight", [hidden, width], 0, 0.25]]
    tensors += [["vision_model.class_embedding", [32], 0, 1], ["multi_modal_projector.weight", [hidden, 64], 0, 1],
                ["multi_modal_projector.bias", [hidden], 0, 1]]
    return config, tensors


def text_model(config, tensors):
    """The Llama 3.1 that is left of a Llama 3.2 Vision which sees no picture."""
    text = config["text_config"]
    left = [n for n in range(text["num_hidden_layers"]) if n not in text["cross_attention_layers"]]
    plain = {"architectures": ["LlamaForCausalLM"], **text, "model_type": "llama", "num_hidden_layers": len(left)}
    del plain["cross_attention_layers"]
    names = {f"layers.{number}.": f"layers.{layer}." for layer, number in enumerate(left)}
    result = {}
    for name, tensor in tensors.items():
        if not name.startswith("language_model."):
            continue
        name = name.removeprefix("language_model.")
        part = next((part for part in names if part in name), None)
        if ".layers." not in name:
            result[name] = tensor[:vocabulary].contiguous()
        elif part:
            result[name.replace(part, names[part])] = tensor
    return plain, result


def mixtral(layers, experts, width):
    config = {
        "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": hidden,
        "intermediate_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": key_heads, "num_local_experts": experts, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5,
        "vocab_size": vocabulary, "hidden_act": "silu", "max_position_embeddings": 1024, "rope_theta": 1000000.0,
        "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    }
    tensors = frame("")
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        tensors += attention(prefix)
        moe = prefix + "block_sparse_moe."
        tensors += [[moe + "gate.weight", [experts, hidden], 0, 1]]
        for expert in range(experts):
            tensors += [
                [f"{moe}experts.{expert}.w1.weight", [width, hidden], 0, 0.5],
                [f"{moe}experts.{expert}.w2.weight", [hidden, width], 0, 0.5],
                [f"{moe}experts.{expert}.w3.weight", [width, hidden], 0, 0.5],
            ]
    return config, tensors


def run(*words):
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)


def contents(path, with_metadata):
    import gguf

    reader = gguf.GGUFReader(path)
    result = {
        "tensors": {
            t.name: [t.tensor_type.name, [int(n) for n in t.shape], zlib.crc32(t.data.tobytes())]
            for t in reader.tensors
        }
    }
    if with_metadata:
        result["metadata"] = {
            field.name: field.contents() for field in reader.fields.values()
            if not field.name.startswith(("GGUF.", "tokenizer."))
        }
    return result


def logits(folder, config, tokens):
    (folder / "config.json").write_text(json.dumps(config))
    name = config["architectures"][0]
    settings = transformers.AutoConfig.from_pretrained(folder)
    if "Llama4" in name:
        name = name.replace("ForConditionalGeneration", "ForCausalLM")
        settings = getattr(settings, "text_config", settings)
    cls = getattr(transformers, name)
    model = cls.from_pretrained(folder, config=settings, dtype=torch.float32, attn_implementation="eager")
    names = dict(model.named_parameters())
    with torch.no_grad():
        # The framework must not have made up a weight that it did not find.
        some = next(v for k, v in names.items() if k.endswith("layers.0.self_attn.q_proj.weight") and "vision" not in k)
        assert some.abs().max() <= 0.5 and some.abs().max() > 0.49
        return model(torch.tensor([tokens])).logits[0, ::8].contiguous().numpy()


MODELS = {
    "llama4-16-experts": llama4(4, 16, 32, 64, 1, vision=True),
    "llama4-every-second": llama4(4, 4, 32, 96, 2, used=2),
    "mixtral": mixtral(2, 8, 96),
    "llama32-vision": mllama(5, [1, 3], 96),
}
PREPROCESSOR = {"image_mean": [0.5, 0.25, 0.125], "image_std": [0.5, 0.4, 0.3], "size": {"height": 56, "width": 56}}
PICTURE = {"id": vocabulary, "content": "<|image|>", "single_word": False, "lstrip": False, "rstrip": False,
           "normalized": False, "special": True}
NONSTOCK = {"attention_chunk_size": 24, "floor_scale": 16}
tokens = [int(n) for n in np.random.default_rng(7).integers(0, 2040, 64)]

for name, (config, table) in MODELS.items():
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for tensor, shape, centre, spread in table:
        tensors[tensor] = weights(tensor, shape, centre, spread)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    for file in ["tokenizer.json", "tokenizer_config.json"]:
        (folder / file).write_bytes((ROOT / "Fixtures/models/llama3" / file).read_bytes())
    others = {}
    projector = {}
    if config.get("vision_config", {}).get("model_type") == "llama4_vision_model":
        others["preprocessor_config.json"] = PREPROCESSOR
        (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
        for outtype in ["auto", "f32", "f16", "q8_0"]:
            tower = folder / f"mmproj-{outtype}.gguf"
            run(sys.executable, Path(os.environ["INGOT_PEERS"]) / "llama.cpp/convert_hf_to_gguf.py", folder, "--mmproj",
                "--outtype", outtype, "--outfile", tower)
            projector[outtype] = {**contents(tower, True), "crc32": zlib.crc32(tower.read_bytes())}
    archives = {}
    plain = folder / "F32.gguf"
    source = folder
    if name == "llama32-vision":
        # The converter does not know the whole; it knows the text model that is left of it.
        source = work / "llama32-text" / name
        source.mkdir(parents=True, exist_ok=True)
        text, left = text_model(config, tensors)
        save_file(left, source / "model.safetensors", metadata={"format": "pt"})
        (source / "config.json").write_text(json.dumps(text))
        for file in ["tokenizer.json", "tokenizer_config.json"]:
            (source / file).write_bytes((folder / file).read_bytes())
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        tokenizer["added_tokens"].append(PICTURE)
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    run(sys.executable, ROOT / "Tests/Interop/reference_convert.py", "llama-bpe", source, plain)
    archives["F32"] = contents(plain, True)
    for mix in ["Q8_0", "Q4_0", "Q4_K_M"]:
        run("llama-quantize", plain, folder / f"{mix}.gguf", mix)
        archives[mix] = contents(folder / f"{mix}.gguf", False)
    files = {}
    variants = {"": config}
    if "llama4" in name:
        variants["nonstock"] = {**config, "text_config": {**config["text_config"], **NONSTOCK}}
    for variant, changed in variants.items():
        file = name + ("-" + variant if variant else "") + ".f32"
        logits(folder, changed, tokens).astype("<f4").tofile(out / file)
        files[variant or "stock"] = {"changes": NONSTOCK if variant else {}, "file": file}
    (out / f"{name}.json").write_text(
        json.dumps(
            {"origin": f"llama.cpp of llama-cpp-python 0.3.36 (strict), transformers {transformers.__version__}",
             "config": config, "tensors": table, "files": others, "projector": projector, "archives": archives, "tokens": tokens, "logits": files},
            separators=(",", ":")))
