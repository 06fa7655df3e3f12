"""Makes Fixtures/golden/meta-releases: Meta's own quantized layouts, small, and the weights that they mean.

    python make_meta_releases.py OUT

needs torch. Key names, shapes and arithmetic are those that Meta's loaders show (llama-models,
models/llama3/quantization/loader.py and models/quantize_impls.py; llama-stack, quantize_checkpoint.py and
hadamard_utils.py; models/llama4/scripts/quantize.py): `X.weight * scale` by rows for FP8, `(code - zero) * scale` by groups plus
`lora_scale * B(A(x))` for INT4, and for SpinQuant a Hadamard transform of the inputs of w2. The weights are
checked here against running the layers that way. expected.tsv has the CRC-32 of each tensor's bytes.
"""

import io
import json
import sys
import zlib
from pathlib import Path

import torch

out = Path(sys.argv[1])
generator = torch.Generator().manual_seed(20261122)
DIM, FORWARD, LAYERS, GROUP, RANK, SCALE = 64, 256, 3, 32, 4, 2.0
NAMES = {torch.float32: "F32", torch.bfloat16: "BF16"}
PARAMS = {
    "dim": DIM, "n_layers": LAYERS, "n_heads": 2, "n_kv_heads": 1, "multiple_of": 128,
    "norm_eps": 1e-5, "rope_theta": 500000.0, "use_scaled_rope": True,
}
MATRICES = {
    "attention.wq": (DIM, DIM), "attention.wk": (32, DIM), "attention.wv": (32, DIM), "attention.wo": (DIM, DIM),
    "feed_forward.w1": (FORWARD, DIM), "feed_forward.w2": (DIM, FORWARD), "feed_forward.w3": (FORWARD, DIM),
}
lines = ["# release\ttensor\ttype\tshape\tCRC-32"]


def normal(*shape, dtype=torch.float32, scale=0.05):
    return (torch.randn(*shape, generator=generator) * scale).to(dtype)


def integers(low, high, *shape):
    return torch.randint(low, high, shape, generator=generator).to(torch.int8)


def expect(kind, tensors):
    for name, tensor in sorted(tensors.items()):
        data = tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()
        shape = ",".join(map(str, tensor.shape))
        lines.append("\t".join([kind, name, NAMES[tensor.dtype], shape, str(zlib.crc32(data))]))


def norms():
    names = ["norm"] + [f"layers.{layer}.{name}" for layer in range(LAYERS) for name in ["attention_norm", "ffn_norm"]]
    return {f"{name}.weight": torch.ones(DIM, dtype=torch.bfloat16) for name in names}


def folder(kind, params):
    path = out / kind
    path.mkdir(parents=True, exist_ok=True)
    (path / "params.json").write_text(json.dumps(params) + "\n")
    return path


def make_fp8(vocabulary, shards=2):
    """Only the feed-forward of the inner layers is in eight bits."""
    path = folder("fp8", PARAMS)
    plain = norms() | {
        "tok_embeddings.weight": normal(vocabulary, DIM, dtype=torch.bfloat16, scale=0) + 1,
        "output.weight": normal(vocabulary, DIM, dtype=torch.bfloat16, scale=0) + 2,
    }
    for layer in range(LAYERS):
        for name, shape in MATRICES.items():
            plain[f"layers.{layer}.{name}.weight"] = normal(*shape, dtype=torch.bfloat16)
    joined = dict(plain)
    parts = [dict() for _ in range(shards)]
    scales = [dict() for _ in range(shards)]
    for name, tensor in plain.items():
        if tensor.ndim == 1:
            pieces = [tensor] * shards
        else:
            dimension = 1 if name.endswith(("wo.weight", "w2.weight")) else 0
            pieces = list(tensor.chunk(shards, dimension))
            if "layers.1.feed_forward" in name:
                weights = []
                for rank, piece in enumerate(pieces):
                    scale = piece.float().abs().amax(dim=1) / 448
                    codes = (piece.float() / scale[:, None]).to(torch.float8_e4m3fn)
                    pieces[rank] = codes
                    scales[rank][f"1_{name.removeprefix('layers.1.').removesuffix('.weight')}_{rank}"] = scale
                    weights.append(codes.float() * scale[:, None])
                joined[name] = torch.cat(weights, dim=dimension)
        for part, piece in zip(parts, pieces):
            part[name] = torch.nn.Parameter(piece.clone(), requires_grad=False)
    for rank in range(shards):
        torch.save(parts[rank], path / f"consolidated.{rank:02}.pth")
        torch.save(scales[rank], path / f"fp8_scales_{rank}.pt")
    expect("fp8", joined)


def hadamard(count):
    matrix = torch.ones(1, 1, dtype=torch.float64)
    two = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    while matrix.shape[0] < count:
        matrix = torch.kron(two, matrix)
    return matrix / count**0.5


def make_int4(kind, vocabulary, lora, rotated):
    arguments = {"scheme": "int4_weight_int8_dynamic_activation", "group_size": GROUP}
    if rotated:
        arguments["spinquant"] = True
    params = PARAMS | {"quantization_args": arguments}
    if lora:
        params["lora_args"] = {"rank": RANK, "scale": SCALE}
    path = folder(kind, params)
    tensors, expected = norms(), norms()
    for name, dtype in [("tok_embeddings", torch.float32), ("output", torch.bfloat16)]:
        codes = integers(-3, 4, vocabulary, DIM)
        scales = (torch.rand(vocabulary, 1, generator=generator) * 1e-3).to(dtype)
        tensors |= {f"{name}.weight": codes, f"{name}.scales": scales}
        expected[f"{name}.weight"] = codes * scales
    for layer in range(LAYERS):
        for name, (rows, columns) in MATRICES.items():
            base = f"layers.{layer}.{name}"
            codes = integers(-8, 8, rows, columns)
            scales = torch.rand(rows, columns // GROUP, generator=generator) * 1e-2
            tensors |= {f"{base}.weight": codes, f"{base}.scales": scales}
            zeros = torch.zeros_like(scales)
            if layer > 0:
                if layer == 2:
                    zeros = torch.randint(-2, 3, scales.shape, generator=generator).float()
                tensors[f"{base}.zeros"] = zeros
            wide = [part.repeat_interleave(GROUP, dim=1) for part in (zeros, scales)]
            plain = (codes.float() - wide[0]) * wide[1]
            weight = plain.double()
            a, b = normal(RANK, columns, dtype=torch.bfloat16), normal(rows, RANK, dtype=torch.bfloat16)
            if lora:
                tensors |= {f"{base}.adaptor.A.weight": a, f"{base}.adaptor.B.weight": b}
                weight = weight + SCALE * (b.double() @ a.double())
            isrotated = rotated and name == "feed_forward.w2"
            if isrotated:
                weight = weight @ hadamard(columns)
            x = torch.randn(5, columns, generator=generator, dtype=torch.float64)
            inner = x @ hadamard(columns) if isrotated else x
            run = inner @ plain.double().T + (SCALE * ((inner @ a.double().T) @ b.double().T) if lora else 0)
            assert torch.allclose(run, x @ weight.T, rtol=1e-9, atol=1e-9), base
            expected[f"{base}.weight"] = weight.float()
    torch.save(tensors, path / "consolidated.00.pth")
    expect(kind, expected)


def make_llama4(kind, isfp8, shards=2):
    """Names and layouts of models/llama4; the second of each two layers has experts, the first is dense."""
    dim, experts, width, dense, heads, key_heads, size, vocabulary, layers = 16, 4, 8, 24, 4, 2, 4, 12, 4
    path = folder(
        kind,
        {
            "dim": dim, "n_layers": layers, "n_heads": heads, "n_kv_heads": key_heads, "multiple_of": 8,
            "ffn_dim_multiplier": 0.55, "ffn_exp": 4.0, "norm_eps": 1e-5, "rope_theta": 500000.0,
            "use_scaled_rope": True, "nope_layer_interval": 4, "attention_chunk_size": 8192, "use_qk_norm": True,
            "moe_args": {"num_experts": experts, "capacity_factor": 2.0, "interleave_moe_layer_step": 2, "top_k": 1},
            "vision_args": {"dim": 8},
        },
    )
    parts = [dict() for _ in range(shards)]
    scales = [dict() for _ in range(shards)]
    joined = {}

    def bf16(*shape):
        return normal(*shape, dtype=torch.bfloat16)

    def put(name, pieces):
        for part, piece in zip(parts, pieces):
            part[name] = piece.contiguous().clone()

    def divide(name, tensor, dimension, stored=None):
        joined[name] = tensor
        put(stored or name, tensor.chunk(shards, dimension))

    def copy(name, tensor, stored=None, here=None):
        joined[name] = tensor if here is None else here
        put(stored or name, [tensor] * shards)

    divide("tok_embeddings.weight", bf16(vocabulary, dim), 0)
    divide("output.weight", bf16(vocabulary, dim), 0)
    copy("norm.weight", bf16(dim) + 1)
    put("rope.freqs", [bf16(size // 2)] * shards)
    joined["rope.freqs"] = parts[0]["rope.freqs"]
    put("vision_embeddings.vision_encoder.conv1._linear.weight", [bf16(4, 6) for _ in parts])
    put("vision_embeddings.vision_encoder.transformer.resblocks.0.attn.wq.bias", [bf16(4) for _ in parts])
    put("vision_projection.weight", [bf16(8, 8) for _ in parts])
    for layer in range(layers):
        start = f"layers.{layer}."
        attention, forward = start + "attention.", start + "feed_forward."
        matrices = [bf16(count * size, dim) for count in (heads, key_heads, key_heads)]
        for name, matrix in zip("qkv", matrices):
            joined[f"{attention}w{name}.weight"] = matrix
        put(attention + "wqkv.weight", [torch.cat(p) for p in zip(*[m.chunk(shards) for m in matrices])])
        divide(attention + "wo.weight", bf16(dim, heads * size), 1)
        copy(start + "attention_norm.weight", bf16(dim) + 1, attention + "wqkv.layer_norm_weight")
        for part in parts:
            part[attention + "wqkv._extra_state"] = io.BytesIO(b"state")
            part[attention + "wo._extra_state"] = io.BytesIO()
        if layer % 2 == 0:
            copy(start + "ffn_norm.weight", bf16(dim) + 1, forward + "mlp.layer_norm_weight")
            gate, up = bf16(dense, dim), bf16(dense, dim)
            joined |= {forward + "w1.weight": gate, forward + "w3.weight": up}
            put(forward + "mlp.fc1_weight", [torch.cat(p) for p in zip(gate.chunk(shards), up.chunk(shards))])
            divide(forward + "w2.weight", bf16(dim, dense), 1, forward + "mlp.fc2_weight")
            continue
        copy(start + "ffn_norm.weight", bf16(dim) + 1, forward + "norm.weight")
        router = bf16(dim, experts)
        copy(forward + "router.weight", router, forward + "router_DE", router.T)
        put(forward + "global_gate_stats_3E", [normal(3, experts)] * shards)
        put(forward + "expert_activation_DE", [normal(4, experts)] * shards)
        for key, stored, shape, dimension in [
            ("w1", "w_in_shared_FD", (width, dim), 0), ("w3", "w_swiglu_FD", (width, dim), 0),
            ("w2", "w_out_shared_DF", (dim, width), 1),
        ]:
            divide(f"{forward}shared_expert.{key}.weight", bf16(*shape), dimension, f"{forward}{stored}.weight")
        for key, stored, shape, dimension in [
            ("w1", "moe_w_in_eD_F", (experts, dim, width), 2), ("w3", "moe_w_swiglu_eD_F", (experts, dim, width), 2),
            ("w2", "moe_w_out_eF_D", (experts, width, dim), 1),
        ]:
            whole = bf16(*shape)
            pieces = list(whole.chunk(shards, dimension))
            # All layers but the first and the last.
            if isfp8 and 0 < layer < layers - 1:
                weights = []
                for rank, piece in enumerate(pieces):
                    turned = piece.float().transpose(1, 2)
                    scale = turned.abs().amax(dim=2) / 448
                    codes = (turned / scale[:, :, None]).to(torch.float8_e4m3fn)
                    scales[rank][f"{forward}experts.{key}"] = scale
                    pieces[rank] = codes.view(torch.uint8).transpose(1, 2).contiguous().view(torch.float8_e4m3fn)
                    weights.append((codes.float() * scale[:, :, None]).transpose(1, 2))
                whole = torch.cat(weights, dim=dimension)
            joined[f"{forward}experts.{key}"] = whole
            put(f"{forward}experts.{stored}", [piece.reshape(-1, piece.shape[-1]) for piece in pieces])
    for rank in range(shards):
        torch.save(parts[rank], path / f"consolidated.{rank:02}.pth")
        if isfp8:
            torch.save(scales[rank], path / f"fp8_scales_{rank}.pt")
    expect(kind, joined)


make_fp8(64)
make_int4("qlora", 64, lora=True, rotated=False)
# With the vocabulary of models/llama3-meta, to be converted as a whole.
make_int4("spinquant", 2048, lora=False, rotated=True)
make_int4("spinquant-lora", 64, lora=True, rotated=True)
make_llama4("llama4", isfp8=False)
make_llama4("llama4-fp8", isfp8=True)
lines.append(f"# origin: torch {torch.__version__}, the definitions of Meta's loaders")
(out / "expected.tsv").write_text("\n".join(lines) + "\n")
