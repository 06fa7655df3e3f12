"""Makes Fixtures/golden/quantized-inputs with the libraries that define each format.

    python make_quantized_inputs.py OUT --bitsandbytes DIR --autoawq DIR --gptqmodel DIR --modelopt DIR --autoround DIR

needs torch, safetensors, transformers and compressed-tensors; the other five are unpacked
distributions from the package index (nothing is installed or built). Each case is one file: the tensors of a
release, the tensors `expected:NAME` that the library makes of them, and in the metadata the configuration and
which function of which version made them.
"""

import argparse
import ast
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import save_file

parser = argparse.ArgumentParser()
parser.add_argument("out", type=Path)
for library in ["bitsandbytes", "autoawq", "gptqmodel", "modelopt", "autoround"]:
    parser.add_argument(f"--{library}", type=Path, required=True)
options = parser.parse_args()
options.out.mkdir(parents=True, exist_ok=True)
generator = torch.Generator().manual_seed(20260801)


def normal(*shape, dtype=torch.float32):
    return (torch.randn(*shape, generator=generator) * 0.05).to(dtype)


def integers(low, high, shape, dtype=torch.int64):
    return torch.randint(low, high, shape, generator=generator).to(dtype)


def version(name):
    from importlib.metadata import version

    return f"{name} {version(name)}"


def write(name, configuration, origin, tensors, expected):
    tensors = dict(tensors)
    tensors["model.norm.weight"] = torch.ones(8, dtype=torch.bfloat16)
    for key, value in expected.items():
        tensors[f"expected:{key}"] = value
    tensors = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
    save_file(
        tensors,
        options.out / f"{name}.safetensors",
        metadata={"quantization_config": json.dumps(configuration), "origin": origin},
    )


# ---------------------------------------------------------------- FP8 of transformers


def make_fp8():
    from transformers.integrations import finegrained_fp8 as fp8

    one = fp8.Fp8Dequantize(None)._dequantize_one
    origin = version("transformers") + ": Fp8Dequantize"
    e4m3, e5m2 = torch.float8_e4m3fn, torch.float8_e5m2
    block = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [16, 32]}
    plain = {"quant_method": "fp8", "activation_scheme": "static"}

    weight = (normal(32, 64) * 2000).to(e4m3)
    for name, scale in [
        ("f32", torch.rand(2, 2, generator=generator) * 1e-3),
        ("bf16", (torch.rand(2, 2, generator=generator) * 1e-3).to(torch.bfloat16)),
        ("u8-exponents", integers(100, 140, (2, 2), torch.uint8)),
        ("e8m0", integers(1, 200, (2, 2), torch.uint8).view(torch.float8_e8m0fnu)),
    ]:
        write(f"fp8-block-{name}", block, origin, {"a.weight": weight, "a.weight_scale_inv": scale},
              {"a.weight": one(weight, scale)})

    ragged = (normal(40, 80) * 2000).to(e4m3)
    scale = torch.rand(3, 3, generator=generator) * 1e-3
    write("fp8-block-ragged", block, version("transformers") + ": _dequantize_fp8_weight in float32",
          {"a.weight": ragged, "a.weight_scale_inv": scale},
          {"a.weight": fp8._dequantize_fp8_weight(ragged, scale, [16, 32], torch.float32)})

    scale = torch.tensor(0.00123)
    small = (normal(6, 40) * 2000).to(e5m2)
    write("fp8-tensor", plain, origin,
          {"a.weight": weight, "a.weight_scale": scale, "a.input_scale": torch.tensor(1.0),
           "b.weight": small, "b.weight_scale": scale.reshape(1)},
          {"a.weight": one(weight, scale), "b.weight": one(small, scale)})

    rows = torch.rand(32, 1, generator=generator) * 1e-3
    write("fbgemm-fp8-rows",
          {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0, "modules_to_not_convert": ["lm_head"]},
          "torch: weight.to(float32) * weight_scale, as FbgemmFp8Linear multiplies by rows",
          {"a.weight": weight, "a.weight_scale": rows, "a.input_scale_ub": torch.tensor([1200.0])},
          {"a.weight": weight.to(torch.float32) * rows})

    codes = torch.arange(256, dtype=torch.uint8).reshape(2, 128)
    write("fp8-codes", plain, "torch: all codes .to(float32)",
          {"a.weight": codes.view(e4m3), "a.weight_scale": torch.tensor(1.0),
           "b.weight": codes.view(e5m2), "b.weight_scale": torch.tensor(1.0)},
          {"a.weight": codes.view(e4m3).float(), "b.weight": codes.view(e5m2).float()})


# ---------------------------------------------------------------- compressed-tensors


def make_compressed_tensors():
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme

    library = version("compressed-tensors")

    def release(base, shape, arguments, form, dtype, inputs=None):
        """Tensors of one module, its group and what decompress makes of them."""
        weights = dict(arguments)
        scheme = QuantizationScheme(targets=["Linear"], weights=weights, input_activations=inputs, format=form)
        rows, columns = shape
        strategy = weights["strategy"]
        size = weights.get("group_size") or columns
        grid = {"tensor": (1,), "channel": (rows, 1), "group": (rows, columns // size),
                "tensor_group": (rows, columns // size)}.get(strategy)
        if strategy == "block":
            height, width = weights["block_structure"]
            grid = (-(-rows // height), -(-columns // width))
        bits = weights["num_bits"]
        isFloat = weights.get("type") == "float"
        span = 2.0**bits if not isFloat else (448.0 if bits == 8 else 6.0)
        scale = ((torch.rand(grid, generator=generator) + 0.5) * 0.3 / span).to(dtype)
        state = {"weight": normal(rows, columns, dtype=dtype)}
        if form == "nvfp4-pack-quantized":
            state["weight_global_scale"] = torch.tensor([97.3])
            scale = scale.float() * 97.3 * 10
        state["weight_scale"] = scale
        if not weights.get("symmetric", True):
            state["weight_zero_point"] = integers(-(2 ** (bits - 1)), 2 ** (bits - 1), grid, torch.int8)
        if form in ("mxfp4-pack-quantized", "mxfp8-quantized"):
            state["weight_scale"] = 2.0 ** integers(-8, 3, grid).to(dtype)
        compressor = BaseCompressor.get_value_from_registry(form)
        packed = compressor.compress(state, scheme)
        dense = compressor.decompress(packed, scheme)["weight"]
        group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs, "output_activations": None}
        return {f"{base}.{key}": value for key, value in packed.items()}, group, {f"{base}.weight": dense}

    def single(name, shape, arguments, form, dtype=torch.bfloat16):
        tensors, group, expected = release("a", shape, arguments, form, dtype)
        configuration = {"quant_method": "compressed-tensors", "format": form, "ignore": ["lm_head"],
                         "quantization_status": "compressed", "config_groups": {"group_0": group}}
        write(name, configuration, f"{library}: compress, decompress", tensors, expected)

    half, full = torch.float16, torch.float32
    f8 = {"num_bits": 8, "type": "float"}
    single("ct-float-channel", (24, 72), f8 | {"strategy": "channel"}, "float-quantized")
    single("ct-float-channel-f32", (24, 72), f8 | {"strategy": "channel"}, "float-quantized", full)
    single("ct-float-tensor", (24, 72), f8 | {"strategy": "tensor"}, "float-quantized", half)
    single("ct-float-group", (8, 96), f8 | {"strategy": "group", "group_size": 32}, "float-quantized")
    single("ct-float-block-ragged", (40, 75), f8 | {"strategy": "block", "block_structure": [16, 32]},
           "float-quantized")
    single("ct-naive-float", (24, 72), f8 | {"strategy": "channel"}, "naive-quantized")
    i8 = {"num_bits": 8, "type": "int"}
    single("ct-int-channel", (24, 75), i8 | {"strategy": "channel"}, "int-quantized")
    single("ct-int-asymmetric", (24, 75), i8 | {"strategy": "channel", "symmetric": False}, "int-quantized")
    single("ct-int-tensor-asymmetric", (24, 75), i8 | {"strategy": "tensor", "symmetric": False}, "int-quantized")
    for bits, dtype in [(1, half), (2, torch.bfloat16), (3, half), (4, torch.bfloat16), (5, full), (6, half),
                        (7, torch.bfloat16), (8, full)]:
        integer = {"num_bits": bits, "type": "int"}
        for symmetric in [True, False]:
            single(f"ct-pack-{bits}-group{'' if symmetric else '-asymmetric'}", (10, 96),
                   integer | {"strategy": "group", "group_size": 32, "symmetric": symmetric}, "pack-quantized", dtype)
    i4 = {"num_bits": 4, "type": "int"}
    single("ct-pack-4-channel-odd", (13, 75), i4 | {"strategy": "channel"}, "pack-quantized")
    single("ct-pack-4-channel-odd-asymmetric", (13, 75), i4 | {"strategy": "channel", "symmetric": False},
           "pack-quantized")
    single("ct-pack-3-channel-odd", (13, 75), {"num_bits": 3, "type": "int", "strategy": "channel"}, "pack-quantized")
    single("ct-pack-4-tensor", (13, 75), i4 | {"strategy": "tensor"}, "pack-quantized")
    single("ct-pack-4-tensor-asymmetric", (13, 75), i4 | {"strategy": "tensor", "symmetric": False}, "pack-quantized")
    f4 = {"num_bits": 4, "type": "float"}
    single("ct-mxfp4", (10, 96), f4 | {"strategy": "group", "group_size": 32}, "mxfp4-pack-quantized")
    single("ct-nvfp4", (10, 96), f4 | {"strategy": "tensor_group", "group_size": 16}, "nvfp4-pack-quantized")
    single("ct-mxfp8", (10, 96), f8 | {"strategy": "group", "group_size": 32, "scale_dtype": "torch.uint8"},
           "mxfp8-quantized")

    # Several groups of several formats.
    tensors, groups, expected = {}, {}, {}
    for index, (base, arguments, form) in enumerate([
        ("a", i4 | {"strategy": "group", "group_size": 32}, "pack-quantized"),
        ("b", i8 | {"strategy": "channel", "symmetric": False}, "pack-quantized"),
        ("c", f8 | {"strategy": "channel"}, "float-quantized"),
    ]):
        some, group, dense = release(base, (10, 96), arguments, form, torch.bfloat16)
        tensors |= some
        expected |= dense
        groups[f"group_{index}"] = group | {"format": form, "targets": [f"re:.*{base}$"]}
    write("ct-several-groups",
          {"quant_method": "compressed-tensors", "format": "mixed-precision", "config_groups": groups},
          f"{library}: compress, decompress", tensors, expected)

    # Columns ordered by activation: an ordinary weight whose columns are then put elsewhere.
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32, unpack_from_int32

    tensors, group, expected = release(
        "a", (10, 96), i4 | {"strategy": "group", "group_size": 32, "symmetric": False}, "pack-quantized",
        torch.bfloat16)
    order = torch.randperm(96, generator=generator)
    codes = unpack_from_int32(tensors["a.weight_packed"], 4, torch.Size([10, 96]))
    tensors["a.weight_packed"] = pack_to_int32(codes[:, order].contiguous(), 4)
    tensors["a.weight_g_idx"] = (order // 32).to(torch.int32)
    expected["a.weight"] = expected["a.weight"][:, order]
    group["weights"]["actorder"] = "group"
    write("ct-pack-4-actorder",
          {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": group}},
          f"{library}: compress, decompress, then columns permuted", tensors, expected)


# ---------------------------------------------------------------- GPTQ, AWQ


def functions(path, wanted):
    """Some functions of a module that cannot be imported by itself."""
    tree = ast.parse(path.read_text())
    body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in wanted]
    scope = {"torch": torch, "PLANAR_BITS": ()}
    exec(compile(ast.Module(body=body, type_ignores=[]), str(path), "exec"), scope)
    return scope


def make_gptq():
    source = options.gptqmodel / "gptqmodel/utils/model_dequant.py"
    names = ["unpack_cols", "pack_cols", "unpack_rows", "_unpack_cols_3bit", "_pack_cols_3bit", "_unpack_rows_3bit",
             "_require_int32_words_for_3bit", "_shift_gptq_qzeros", "_correct_gptq_v1_qzeros"]
    library = functions(source, names)
    origin = f"{options.gptqmodel.name}: unpack_rows, unpack_cols, _correct_gptq_v1_qzeros; scales[g] * (codes - zeros[g])"

    def case(name, bits, columns, rows, size, form="gptq", order=False, dtype=torch.float16, g_idx=True):
        groups = -(-columns // (size or columns))
        words = integers(-(2**31), 2**31, (columns * bits // 32, rows), torch.int32)
        zeros = integers(-(2**31), 2**31, (groups, rows * bits // 32), torch.int32)
        scales = (torch.rand(groups, rows, generator=generator) * 0.01).to(dtype)
        group = torch.arange(columns, dtype=torch.int32) // (size or columns)
        if order:
            group = group[torch.randperm(columns, generator=generator)]
        stored = library["_correct_gptq_v1_qzeros"](zeros, bits) if form == "gptq" else zeros
        codes = library["unpack_rows"](words, bits)
        zero = library["unpack_cols"](stored, bits)
        index = group.long()
        dense = scales[index] * (codes - zero[index])
        tensors = {"a.qweight": words, "a.qzeros": zeros, "a.scales": scales}
        if g_idx:
            tensors["a.g_idx"] = group
        configuration = {"quant_method": "gptq", "bits": bits, "group_size": size or -1, "desc_act": order,
                         "sym": False, "checkpoint_format": form}
        write(f"gptq-{name}", configuration, origin, tensors, {"a.weight": dense.t()})

    for bits in [2, 3, 4, 8]:
        case(f"{bits}", bits, 64, 32, 32)
    case("4-v2", 4, 64, 32, 32, form="gptq_v2")
    case("3-v2", 3, 64, 32, 32, form="gptq_v2")
    case("4-actorder", 4, 96, 32, 32, order=True)
    case("3-actorder", 3, 96, 32, 32, order=True)
    case("4-channel", 4, 96, 32, None)
    case("4-ragged", 4, 80, 40, 32)
    case("4-bf16-no-index", 4, 64, 32, 32, dtype=torch.bfloat16, g_idx=False)
    case("4-slabs", 4, 576, 40, 64, order=True)


def make_awq():
    path = options.autoawq / "awq/utils/packing_utils.py"
    spec = importlib.util.spec_from_file_location("packing_utils", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, columns, rows, size in [("gemm", 64, 40, 32), ("gemm-channel", 40, 16, None)]:
        groups = columns // (size or columns)
        words = integers(-(2**31), 2**31, (columns, rows // 8), torch.int32)
        zeros = integers(-(2**31), 2**31, (groups, rows // 8), torch.int32)
        scales = (torch.rand(groups, rows, generator=generator) * 0.01).to(torch.float16)
        dense = module.dequantize_gemm(words, zeros, scales, 4, size or columns)
        write(f"awq-{name}",
              {"quant_method": "awq", "bits": 4, "group_size": size or -1, "version": "gemm", "zero_point": True},
              f"{options.autoawq.name}: dequantize_gemm",
              {"a.qweight": words, "a.qzeros": zeros, "a.scales": scales}, {"a.weight": dense.t()})


# ---------------------------------------------------------------- auto-round


def make_auto_round():
    """Weights packed and run by the library: multiplied by the identity they come out as they are."""
    sys.path.insert(0, str(options.autoround))
    # The package's own start needs much that packing does not.
    package, utilities = ModuleType("auto_round"), ModuleType("auto_round.utils")
    package.__path__ = [str(options.autoround / "auto_round")]
    utilities.__path__ = [str(options.autoround / "auto_round/utils")]
    utilities.get_packing_device = lambda device=None: "cpu"
    sys.modules |= {"auto_round": package, "auto_round.utils": utilities}
    from auto_round_extension.torch.qlinear_torch_zp import QuantLinear

    spec = importlib.util.spec_from_file_location(
        "awq_utils", options.autoround / "auto_round/export/export_to_awq/utils.py")
    awq = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(awq)
    linear = torch.nn.Linear(96, 32, bias=False)
    fixed = {"quant_method": "auto-round", "data_type": "int", "iters": 200, "autoround_version": "0.16.1",
             "block_name_to_quantize": "model.layers", "extra_config": {"lm_head": {"bits": 16, "data_type": "float"}}}

    def grid(bits, size, symmetric):
        linear.weight.data = normal(32, 96)
        groups = linear.weight.data.reshape(32, 96 // size, size)
        scale = ((groups.amax(2) - groups.amin(2)).clamp(min=1e-6) / (2**bits - 1)).half().float()
        zero = torch.round(-groups.amin(2) / scale).clamp(1, 2**bits - 1)
        return scale, float(2 ** (bits - 1)) if symmetric else zero

    for bits, symmetric in [(2, False), (4, True), (4, False), (8, True)]:
        scale, zero = grid(bits, 32, symmetric)
        layer = QuantLinear(bits, 32, 96, 32, False)
        layer.pack(linear, scale, zero)
        dense = layer(torch.eye(96, dtype=torch.float16))
        configuration = fixed | {"bits": bits, "group_size": 32, "sym": symmetric, "packing_format": "auto_round:auto_gptq"}
        name = f"auto-round-gptq-{bits}" + ("" if symmetric else "-asymmetric")
        write(name, configuration, f"{options.autoround.name}: qlinear_torch_zp.QuantLinear, of the identity",
              {"a.qweight": layer.qweight, "a.qzeros": layer.qzeros, "a.scales": layer.scales}, {"a.weight": dense.t()})
    scale, zero = grid(4, 32, False)
    layer = awq.WQLinear_GEMM.from_linear(
        linear=linear, w_bit=4, group_size=32, scales=scale.t().contiguous(), zeros=zero.t().contiguous())
    dense = awq.dequantize_gemm(layer.qweight, layer.qzeros, layer.scales, 4, 32)
    write("auto-round-awq",
          fixed | {"bits": 4, "group_size": 32, "sym": False, "packing_format": "auto_round:auto_awq"},
          f"{options.autoround.name}: WQLinear_GEMM, dequantize_gemm",
          {"a.qweight": layer.qweight, "a.qzeros": layer.qzeros, "a.scales": layer.scales}, {"a.weight": dense.t()})


# ---------------------------------------------------------------- bitsandbytes


def make_bitsandbytes():
    sys.path.insert(0, str(options.bitsandbytes))
    import bitsandbytes
    from bitsandbytes import functional as bnb

    library = f"bitsandbytes {bitsandbytes.__version__}"
    for kind in ["nf4", "fp4"]:
        for name, shape, dtype, nested, size in [
            ("bf16-nested", (20, 96), torch.bfloat16, True, 64),
            ("f16", (12, 128), torch.float16, False, 64),
            ("f16-nested-large", (130, 130), torch.float16, True, 64),
            ("f32-odd", (7, 13), torch.float32, False, 32),
        ]:
            if "large" in name and kind == "fp4":
                continue
            packed, state = bnb.quantize_4bit(normal(*shape).to(dtype), blocksize=size, compress_statistics=nested,
                                              quant_type=kind)
            dense, function = bnb.dequantize_4bit(packed, state), "dequantize_4bit"
            if shape[1] % size and shape[1] % 2 == 0 and "large" not in name:
                # The kernel for processors of this release counts blocks anew in every row; its own plain
                # operator, which other devices agree with, does not.
                from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
                from bitsandbytes.backends.utils import _get_4bit_code

                absmax = state.absmax
                if nested:
                    absmax = bnb.dequantize_blockwise(absmax, state.state2) + state.offset
                dense = _dequantize_4bit_compute(packed.reshape(-1), absmax, _get_4bit_code(kind, "cpu"), size, shape,
                                                 dtype)
                function = "the default dequantize_4bit operator"
            stored = {f"a.weight.{key}": value for key, value in state.as_dict(packed=True).items()}
            write(f"bnb-{kind}-{name}", {"quant_method": "bitsandbytes", "load_in_4bit": True},
                  f"{library}: {function}", {"a.weight": packed} | stored,
                  {"a.weight": dense})
    weight = normal(24, 50).to(torch.float16)
    scales = weight.abs().amax(1).float()
    codes = (weight.float() * (127 / scales[:, None])).round().to(torch.int8)
    write("bnb-int8", {"quant_method": "bitsandbytes", "load_in_8bit": True},
          f"{library}: int8_vectorwise_dequant",
          {"a.weight": codes, "a.SCB": scales, "a.weight_format": torch.tensor(0, dtype=torch.uint8)},
          {"a.weight": bnb.int8_vectorwise_dequant(codes, scales)})


# ---------------------------------------------------------------- four-bit floats


def make_fp4():
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    blocks = integers(0, 256, (10, 3, 16), torch.uint8)
    scales = integers(100, 140, (10, 3), torch.uint8)
    scales[0] = torch.tensor([0, 1, 250])
    dense = convert_moe_packed_tensors(blocks[None], scales[None])[0].t()
    write("mxfp4-blocks", {"quant_method": "mxfp4"}, version("transformers") + ": convert_moe_packed_tensors, transposed back",
          {"a.weight_blocks": blocks, "a.weight_scales": scales}, {"a.weight": dense})

    path = options.modelopt / "modelopt/torch/quantization/qtensor/nvfp4_tensor.py"
    table = next(
        [float(ast.literal_eval(element)) for element in node.args[0].elts]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.List)
        and len(node.args[0].elts) == 16)
    codes = integers(0, 256, (10, 48), torch.uint8)
    scale = (torch.rand(10, 6, generator=generator) * 400).to(torch.float8_e4m3fn)
    global_scale = torch.tensor(0.000123)
    values = torch.tensor(table)[torch.stack([codes & 15, codes >> 4], dim=-1).reshape(10, 96).long()]
    dense = (values.reshape(10, 6, 16) * (scale.float() * global_scale)[..., None]).reshape(10, 96)
    eight = (normal(10, 40) * 2000).to(torch.float8_e4m3fn)
    write("modelopt-nvfp4",
          {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"},
          "arithmetic of NVFP4QTensor.dequantize (its table; scale in float32 times weight_scale_2) before its cast; FP8: float32 product",
          {"a.weight": codes, "a.weight_scale": scale, "a.weight_scale_2": global_scale,
           "a.input_scale": torch.tensor(1.0), "b.weight": eight, "b.weight_scale": torch.tensor(0.0123),
           "b.k_scale": torch.tensor(1.0)},
          {"a.weight": dense, "b.weight": eight.float() * 0.0123})


for make in [make_fp8, make_compressed_tensors, make_gptq, make_awq, make_bitsandbytes, make_fp4, make_auto_round]:
    make()
