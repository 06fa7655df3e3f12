"""Makes the files of this folder with torch: python make_files.py [BIN_ZIP_SHARD ... BIN_LEGACY]

expected.tsv lists every tensor that a reader has to find, with the CRC-32 of its bytes in row-major
order. The arguments are checkpoint files of `torch.save`; of each the bytes outside the tensors are
kept (NAME.frame), so that a test can put the weights of models/llama2 back between them.
"""
import collections, io, os, struct, sys, zipfile, zlib
import torch

names = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.uint16: "U16", torch.uint32: "U32", torch.uint64: "U64",
    torch.bool: "BOOL", torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
    torch.float8_e8m0fnu: "F8_E8M0", torch.complex64: "C64",
}
rows = []


def data(tensor):
    flat = tensor.detach().contiguous().flatten()
    return bytes(flat.view(torch.uint8).numpy().tobytes()) if flat.numel() else b""


def keep(file, tensors):
    for name, tensor in tensors.items():
        shape = ",".join(map(str, tensor.shape)) or "-"
        rows.append((file, name, names[tensor.dtype], shape, str(zlib.crc32(data(tensor)))))


def save(file, value, tensors, **options):
    torch.save(value, file, **options)
    keep(file, tensors)


def views():
    base = torch.arange(6 * 8 * 10, dtype=torch.float32).reshape(6, 8, 10)
    matrix = base.view(48, 10)
    small = torch.arange(64, dtype=torch.int16)
    return collections.OrderedDict(
        base=base, shared=base, flat=base.view(-1), slice=base[2], offset=matrix[5:9],
        columns=matrix[:, 3:7], transposed=matrix.t(), permuted=base.permute(2, 0, 1),
        swapped=base.transpose(1, 2), stepped=base[::2, 1::3, ::4], diagonal=torch.diagonal(matrix),
        expanded_rows=matrix[7].expand(5, 10), expanded_columns=matrix[:, 2:3].expand(48, 6),
        expanded_scalar=base[1, 2, 3].expand(3, 4), expanded_middle=base[:, :1].expand(6, 3, 10),
        windows=small.as_strided((20, 6), (2, 1)), crossed=small.as_strided((4, 3, 5), (1, 4, 12)),
        scalar=torch.tensor(2.5), empty=torch.empty(0, 3), empty_view=base[:, 2:2],
        one=base[3:4, 2:3, 4:5], parameter=torch.nn.Parameter(matrix[1]),
        large=torch.arange(80000, dtype=torch.int32).to(torch.int16).view(2, 40000).t(),
    )


def every_type():
    torch.manual_seed(5)
    result = collections.OrderedDict()
    for dtype, name in names.items():
        width = torch.empty(0, dtype=dtype).element_size()
        raw = torch.randint(0, 256, (7 * width,), dtype=torch.uint8)
        if dtype == torch.bool:
            raw = raw & 1
        result[name] = raw.view(dtype)
    result["F8_E4M3 view"] = result["F8_E4M3"][2:6]
    result["U16 stepped"] = result["U16"][1::2]
    return result


def main():
    for form, new in (("zip", True), ("legacy", False)):
        tensors = views()
        save(f"views-{form}.pt", tensors, tensors, _use_new_zipfile_serialization=new)
        tensors = every_type()
        save(f"types-{form}.pt", tensors, tensors, _use_new_zipfile_serialization=new)
        for protocol in (3, 4, 5):
            tensors = {f"t{i}": torch.full((2, 3), float(i)) for i in range(5)}
            save(
                f"protocol{protocol}-{form}.pt", tensors, tensors, pickle_protocol=protocol,
                _use_new_zipfile_serialization=new)
    torch.serialization.set_crc32_options(False)
    tensors = {"t": torch.arange(5.0)}
    save("no-crc.pt", tensors, tensors)
    torch.serialization.set_crc32_options(True)
    torch.manual_seed(1)
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    save("module.pt", module.state_dict(), module.state_dict())
    attributes = torch.nn.Parameter(torch.arange(4.0))
    attributes.note = "kept by torch"
    plain = torch.arange(6.0)
    plain.note = "also"
    tensors = {"parameter": attributes, "plain": plain}
    save("attributes.pt", tensors, tensors)
    inner = {"a": torch.arange(3.0), "b": torch.arange(4.0)}
    save("nested.pt", {"epoch": 3, "model": {"module": inner}, "optimizer": {"lr": 0.1}}, inner)
    tensors = collections.OrderedDict(weight=torch.arange(4.0))
    mixed = collections.OrderedDict(tensors)
    mixed["layer._extra_state"] = io.BytesIO(b"\x80\x02}q\x00.")
    mixed.update(
        step=7, rate=1e-3, flag=True, nothing=None, shape=torch.Size([1, 2]), kind=torch.float16,
        device=torch.device("cpu"), group={1, 2}, big=1 << 70, negative=-5, text="é", raw=b"\xff")
    save("mixed.pt", mixed, tensors)
    with open("expected.tsv", "w") as file:
        file.write(f"# Tensors as torch {torch.__version__} saved them; make_files.py made files and sums.\n")
        file.write("file\ttensor\ttype\tshape\tcrc32\n")
        for row in rows:
            file.write("\t".join(row) + "\n")
    for path in sys.argv[1:]:
        frame(path)


def frame(path):
    """Cuts the tensors out of a file: NAME.frame has what is left, NAME.frame.tsv the places."""
    whole = open(path, "rb").read()
    tensors = torch.load(path, map_location="cpu")
    places = []
    for name, tensor in tensors.items():
        raw = data(tensor)
        start = whole.find(raw)
        assert start >= 0 and whole.find(raw, start + 1) < 0, name
        places.append((start, len(raw), name))
    places.sort()
    out = os.path.basename(path)
    out = ("legacy-" if not zipfile.is_zipfile(path) else "") + out
    rest, position = b"", 0
    with open(out + ".frame.tsv", "w") as file:
        file.write(f"# {len(whole)} bytes, CRC-32 {zlib.crc32(whole)}; offsets in the whole file.\n")
        file.write("tensor\toffset\tbytes\n")
        for start, count, name in places:
            rest += whole[position:start]
            position = start + count
            file.write(f"{name}\t{start}\t{count}\n")
    rest += whole[position:]
    open(out + ".frame", "wb").write(rest)


main()
