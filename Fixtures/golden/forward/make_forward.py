"""Makes tiny random models and the logits that transformers computes of them, in float32.

    python make_forward.py            (torch, transformers, safetensors)

Each folder is a checkpoint: config.json, model.safetensors; logits.json and logits.f32 say what
comes out. tokenizer.json serves all of them, so that they can be converted.
"""

import copy
import json
import os

import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
FIRST_SPECIAL = 257
VOCABULARY = FIRST_SPECIAL + len(SPECIAL)
COMMON = dict(
    vocab_size=VOCABULARY, num_hidden_layers=2, max_position_embeddings=256, hidden_act="silu",
    rms_norm_eps=1e-5, bos_token_id=FIRST_SPECIAL, eos_token_id=FIRST_SPECIAL + 1, pad_token_id=None)

MODELS = {
    # The embedding is the output; positions are stretched; every head has its own keys.
    "tied-linear": (
        transformers.LlamaForCausalLM, transformers.LlamaConfig, "bfloat16",
        dict(hidden_size=32, intermediate_size=80, num_attention_heads=4, num_key_value_heads=4,
             tie_word_embeddings=True, rope_theta=10000.0,
             rope_scaling={"type": "linear", "factor": 4.0})),
    # Biases everywhere, and heads that together are wider than the embedding.
    "biased-wide-heads": (
        transformers.LlamaForCausalLM, transformers.LlamaConfig, "float32",
        dict(hidden_size=24, intermediate_size=40, num_attention_heads=4, num_key_value_heads=2,
             head_dim=12, attention_bias=True, mlp_bias=True, tie_word_embeddings=False,
             rope_theta=500000.0)),
    # One head of keys for all, scaling in the newer spelling, another class.
    "mistral-llama3": (
        transformers.MistralForCausalLM, transformers.MistralConfig, "float16",
        dict(hidden_size=32, intermediate_size=48, num_attention_heads=2, num_key_value_heads=1,
             head_dim=32, sliding_window=None, tie_word_embeddings=False,
             rope_parameters={"rope_type": "llama3", "rope_theta": 1000.0, "factor": 8.0,
                              "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                              "original_max_position_embeddings": 32})),
}
# As they were written in the year of their library, where it writes them differently today.
OLDER = {"tied-linear", "biased-wide-heads"}


def tokenizer():
    """Bytes, one merge and a few special tokens, with the split expression of the bundled model."""
    path = os.path.join(HERE, "../../models/llama3/tokenizer.json")
    document = json.load(open(path, encoding="utf-8"))
    vocabulary = document["model"]["vocab"]
    letters = sorted((t for t in vocabulary if len(t) == 1), key=vocabulary.get)
    assert len(letters) == 256
    document["model"]["vocab"] = {letter: index for index, letter in enumerate(letters)}
    document["model"]["vocab"]["th"] = 256
    document["model"]["merges"] = ["t h"]
    document["added_tokens"] = [
        dict(id=FIRST_SPECIAL + index, content=name, single_word=False, lstrip=False, rstrip=False,
             normalized=False, special=True)
        for index, name in enumerate(SPECIAL)]
    document["post_processor"] = None
    with open(os.path.join(HERE, "tokenizer.json"), "w", encoding="utf-8") as file:
        json.dump(document, file, ensure_ascii=False)


def make(name, seed):
    model_class, config_class, dtype, options = MODELS[name]
    torch.manual_seed(seed)
    config = config_class(**COMMON, **copy.deepcopy(options))
    config.architectures = [model_class.__name__]
    model = model_class(config).eval()
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            if key.endswith("norm.weight"):
                tensor.copy_(1 + 0.2 * torch.randn_like(tensor))
            else:
                tensor.copy_(torch.randn_like(tensor) * (0.3 if tensor.dim() == 1 else 0.25))
            tensor.copy_(tensor.to(getattr(torch, dtype)).float())
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    kept = {k: v.to(getattr(torch, dtype)).contiguous() for k, v in model.state_dict().items()
            if not (config.tie_word_embeddings and k == "lm_head.weight")}
    save_file(kept, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})

    document = json.loads(config.to_json_string(use_diff=False))
    keep = set(COMMON) | set(options) | {
        "architectures", "model_type", "head_dim", "attention_bias", "mlp_bias", "rope_parameters"}
    document = {k: v for k, v in document.items() if k in keep and v is not None}
    if name in OLDER:
        document.pop("rope_parameters", None)
        for key in ("rope_theta", "rope_scaling"):
            if key in options:
                document[key] = options[key]
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(document, file, indent=1, sort_keys=True)
        file.write("\n")

    # From the folder, so that the files are what was measured.
    loaded = model_class.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()
    tokens = torch.randint(0, VOCABULARY, (1, 40))
    with torch.no_grad():
        logits = loaded(tokens).logits[0].float()
        again = model(tokens).logits[0].float()
    assert (logits - again).abs().max() < 1e-4 * logits.abs().max(), name
    rows = logits[-12:]
    rows.numpy().astype("<f4").tofile(os.path.join(folder, "logits.f32"))
    with open(os.path.join(folder, "logits.json"), "w") as file:
        json.dump({
            "tokens": tokens[0].tolist(), "positions": [len(tokens[0]) - 12, len(tokens[0])],
            "shape": list(rows.shape), "dtype": "float32 little-endian",
            "by": f"transformers {transformers.__version__}, float32, eager attention",
        }, file)
        file.write("\n")
    print(name, "rms", float(logits.pow(2).mean().sqrt()))


tokenizer()
for number, model_name in enumerate(MODELS):
    make(model_name, number)
