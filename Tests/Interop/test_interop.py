"""Our archives against the tools that will load them.

Needs INGOT (path of the built command) and the environment of setup-peers.sh; `.ci/run` sets both.
"""

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

import gguf
import llama_cpp
import numpy as np
import sentencepiece
import tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "Fixtures" / "models"
INGOT = os.environ["INGOT"]
# name of the fixture -> the pre-tokenizer name that the converter cannot find out by itself
PRE_TOKENIZERS = {"llama3": "llama-bpe", "llama2": "default"}
MIXES = (
    "Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_0 Q4_1 Q4_K_S Q4_K_M Q5_0 Q5_1 Q5_K_S Q5_K_M Q6_K Q8_0 F16 BF16 F32 "
    "IQ3_S IQ3_M IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4_MOE Q1_0 Q2_0"
).split()
# The reference makes these only with an importance matrix.
MIXES_WITH_IMPORTANCE = (
    "Q2_K_S IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ2_M IQ3_XXS IQ3_XS"
).split()
PROMPT = "def main(arguments):\n    for name in arguments:\n"


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def first_difference(ours, theirs):
    a, b = ours.read_bytes(), theirs.read_bytes()
    if a == b:
        return None
    place = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return f"{ours.name}: {len(a)} bytes, reference {len(b)}, first difference at byte {place}"


class Session:
    """A loaded model: logits of a prompt and a greedy continuation."""

    def __init__(self, path):
        self.model = llama_cpp.Llama(
            str(path), n_ctx=256, n_threads=2, logits_all=True, verbose=False, seed=0)
        self.tokens = self.model.tokenize(PROMPT.encode())
        self.model.eval(self.tokens)
        self.logits = np.array(self.model.scores[: len(self.tokens)], dtype=np.float32)
        self.model.reset()
        stream = self.model.generate(self.tokens, temp=0.0, top_k=1)
        self.continuation = [next(stream) for _ in range(24)]

    def close(self):
        self.model.close()


def logits_of_chunks(path, text, context, chunks):
    """Tokens, and llama.cpp's float32 logits of the positions that llama-perplexity scores."""
    model = llama_cpp.Llama(
        str(path), n_ctx=context, n_batch=context, n_threads=2, logits_all=True, verbose=False,
        flash_attn=False, type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32)
    tokens = model.tokenize(text, add_bos=True, special=False)
    logits, targets = [], []
    for chunk in range(chunks):
        part = tokens[chunk * context : (chunk + 1) * context]
        model.reset()
        model.eval([model.token_bos()] + part[1:])
        logits.append(np.array(model.scores[context // 2 : context - 1], dtype=np.float64))
        targets.extend(part[context // 2 + 1 :])
    model.close()
    return np.concatenate(logits), np.array(targets)


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


class InteropTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="ingot-interop-")
        cls.work = pathlib.Path(cls.folder.name)
        cls.reference = {}
        for name, pre in PRE_TOKENIZERS.items():
            target = cls.work / f"{name}-converted.gguf"
            run(sys.executable, ROOT / "Tests/Interop/reference_convert.py", pre, MODELS / name, target)
            cls.reference[name] = target

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def quantized_by_peer(self, name, mix, *options):
        target = self.work / f"{name}-reference-{mix}{'-imatrix' if options else ''}.gguf"
        if not target.exists():
            run("llama-quantize", *options, self.reference[name], target, mix)
        return target

    def converted(self, name, mix, *options, suffix=""):
        target = self.work / f"{name}-ours-{mix}{suffix}.gguf"
        run(INGOT, "convert", MODELS / name, "-o", target, "--type", mix, "--progress", "none", *options)
        return target

    def test_every_mix_equals_the_reference_byte_for_byte(self):
        for name in PRE_TOKENIZERS:
            for mix in MIXES:
                with self.subTest(model=name, mix=mix):
                    ours = self.converted(name, mix, "--no-provenance")
                    self.assertIsNone(first_difference(ours, self.quantized_by_peer(name, mix)))

    def test_every_mix_with_importance_equals_the_reference_byte_for_byte(self):
        for name in PRE_TOKENIZERS:
            imatrix = MODELS / "imatrix" / f"{name}.gguf"
            for mix in MIXES + MIXES_WITH_IMPORTANCE:
                with self.subTest(model=name, mix=mix):
                    ours = self.converted(
                        name, mix, "--no-provenance", "--imatrix", imatrix, suffix="-imatrix")
                    theirs = self.quantized_by_peer(name, mix, "--imatrix", imatrix)
                    self.assertIsNone(first_difference(ours, theirs))

    def test_blocks_of_nvfp4_releases_equal_the_reference_byte_for_byte(self):
        for kind in ["modelopt", "compressed"]:
            with self.subTest(release=kind):
                release = self.block_release(kind)
                converted = self.work / f"{kind}-converted.gguf"
                run(sys.executable, ROOT / "Tests/Interop/reference_convert.py", "llama-bpe", release, converted,
                    "bf16")
                theirs = self.work / f"{kind}-reference.gguf"
                run("llama-quantize", converted, theirs, "COPY")
                self.assertIsNone(first_difference(self.copied(kind, release), theirs))

    def test_llama_cpp_computes_the_logits_of_carried_blocks(self):
        for kind in ["modelopt", "compressed", "mxfp4"]:
            with self.subTest(release=kind):
                release = self.block_release(kind)
                plain = self.work / f"{kind}-f32.gguf"
                run(INGOT, "convert", release, "-o", plain, "--type", "F32", "--progress", "none")
                a, b = Session(self.copied(kind, release)).logits, Session(plain).logits
                # The archive's program quantizes activations to eight bits before it multiplies blocks.
                self.assertLess(np.abs(a - b).max(), 0.02 * np.abs(b).max())

    def block_release(self, kind):
        release = self.work / kind
        if not release.exists():
            shutil.copytree(ROOT / "Fixtures/golden/carried-blocks" / kind, release)
            for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]:
                shutil.copy(MODELS / "llama3" / name, release / name)
        return release

    def copied(self, kind, release):
        target = self.work / f"{kind}-ours.gguf"
        run(INGOT, "convert", release, "-o", target, "--type", "copy", "--no-provenance", "--progress", "none")
        return target

    def test_the_reference_takes_our_importance(self):
        text = ROOT / "Fixtures/text/eval.txt"
        for name in PRE_TOKENIZERS:
            imatrix = self.work / f"{name}-imatrix.gguf"
            run(INGOT, "calibrate", MODELS / name, "--text", text, "--context", "256", "--chunks", "20",
                "--process-output", "-o", imatrix, "--progress", "none")
            # llama-imatrix wrote this one, over the same chunks of the same text.
            ours = gguf.GGUFReader(imatrix)
            theirs = gguf.GGUFReader(MODELS / "imatrix" / f"{name}-eval.gguf")
            self.assertEqual(list(ours.fields), list(theirs.fields))
            self.assertEqual([t.name for t in ours.tensors], [t.name for t in theirs.tensors])
            for a, b in zip(ours.tensors, theirs.tensors):
                self.assertEqual(a.shape.tolist(), b.shape.tolist(), a.name)
                if a.name.endswith(".counts"):
                    self.assertTrue(np.array_equal(a.data, b.data), a.name)
                else:
                    scale = np.maximum(b.data, 1e-3 * b.data.mean())
                    self.assertLess((np.abs(a.data - b.data) / scale).max(), 1e-4, a.name)
            for mix in ["Q4_K_M", "IQ2_S"]:
                with self.subTest(model=name, mix=mix):
                    converted = self.converted(
                        name, mix, "--no-provenance", "--imatrix", imatrix, suffix="-calibrated")
                    target = self.work / f"{name}-reference-{mix}-calibrated.gguf"
                    run("llama-quantize", "--imatrix", imatrix, self.reference[name], target, mix)
                    self.assertIsNone(first_difference(converted, target))

    def test_only_our_own_keys_differ_with_provenance(self):
        ours = gguf.GGUFReader(self.converted("llama3", "Q4_K_M", suffix="-provenance"))
        theirs = gguf.GGUFReader(self.quantized_by_peer("llama3", "Q4_K_M"))
        extra = set(ours.fields) - set(theirs.fields)
        self.assertTrue(extra)
        self.assertTrue(all(key.startswith("ingot.") for key in extra), extra)
        self.assertEqual(set(theirs.fields) - set(ours.fields), set())
        for key in theirs.fields:
            if not key.startswith("GGUF."):
                self.assertEqual(ours.get_field(key).contents(), theirs.get_field(key).contents(), key)
        self.assertEqual([t.name for t in ours.tensors], [t.name for t in theirs.tensors])
        for a, b in zip(ours.tensors, theirs.tensors):
            self.assertEqual(a.tensor_type, b.tensor_type, a.name)
            self.assertTrue(np.array_equal(a.data, b.data), a.name)

    def test_llama_cpp_computes_the_same_logits_and_continuation(self):
        for name in PRE_TOKENIZERS:
            for mix in ["Q4_K_M", "Q8_0", "Q2_K", "BF16"]:
                with self.subTest(model=name, mix=mix):
                    ours = Session(self.converted(name, mix, suffix="-logits"))
                    theirs = Session(self.quantized_by_peer(name, mix))
                    self.assertEqual(ours.tokens, theirs.tokens)
                    self.assertTrue(np.isfinite(ours.logits).all())
                    self.assertTrue(np.array_equal(ours.logits, theirs.logits))
                    self.assertEqual(ours.continuation, theirs.continuation)
                    ours.close()
                    theirs.close()

    def test_split_archives_load_and_merge_to_the_same_tensors(self):
        whole = self.converted("llama3", "Q4_K_M", suffix="-whole")
        run(INGOT, "convert", MODELS / "llama3", "-o", self.work / "split.gguf", "--type", "Q4_K_M",
            "--split-max-size", "1M", "--progress", "none")
        parts = sorted(self.work.glob("split-*-of-*.gguf"))
        self.assertGreater(len(parts), 2)
        merged = self.work / "merged.gguf"
        run("llama-gguf-split", "--merge", parts[0], merged)
        a, b = gguf.GGUFReader(whole), gguf.GGUFReader(merged)
        self.assertEqual([t.name for t in a.tensors], [t.name for t in b.tensors])
        for x, y in zip(a.tensors, b.tensors):
            self.assertTrue(np.array_equal(x.data, y.data), x.name)
        one, several = Session(whole), Session(parts[0])
        self.assertTrue(np.array_equal(one.logits, several.logits))
        one.close()
        several.close()

    def test_verify_agrees_with_llama_cpp(self):
        """Perplexity and divergence, on archives in F32: there both compute in single precision."""
        context, chunks = 256, 12
        text_path = ROOT / "Fixtures/text/eval.txt"
        text = text_path.read_bytes().removesuffix(b"\n")
        for name in PRE_TOKENIZERS:
            with self.subTest(name):
                original = self.work / f"{name}-original.gguf"
                quantized = self.work / f"{name}-quantized.gguf"
                restored = self.work / f"{name}-restored.gguf"
                run(INGOT, "convert", MODELS / name, "-o", original, "--type", "F32")
                run(INGOT, "convert", MODELS / name, "-o", quantized, "--type", "Q3_K_M")
                run(INGOT, "convert", quantized, "-o", restored, "--type", "F32", "--allow-requantize")
                found = json.loads(run(
                    INGOT, "verify", MODELS / name, quantized, "--text", text_path, "--context", context,
                    "--chunks", chunks, "--json", "-"))["distribution"]
                reference, targets = logits_of_chunks(original, text, context, chunks)
                candidate, _ = logits_of_chunks(restored, text, context, chunks)
                p, q = log_softmax(reference), log_softmax(candidate)
                places = np.arange(len(targets))
                for key, logs in ("referencePerplexity", p), ("candidatePerplexity", q):
                    expected = np.exp(-logs[places, targets].mean())
                    self.assertAlmostEqual(found[key]["value"] / expected, 1, delta=1e-4, msg=key)
                divergence = (np.exp(p) * (p - q)).sum(axis=1)
                self.assertAlmostEqual(
                    found["meanDivergence"]["value"], divergence.mean(),
                    delta=0.01 * divergence.mean() + 1e-5)
                self.assertAlmostEqual(
                    found["divergenceQuantiles"][3]["value"], np.quantile(divergence, 0.99),
                    delta=0.01 * np.quantile(divergence, 0.99))
                same = (p.argmax(axis=1) == q.argmax(axis=1)).mean()
                self.assertAlmostEqual(found["topAgreement"]["value"], same, delta=0.001)

    def test_our_reader_takes_the_reference_archives(self):
        theirs = self.quantized_by_peer("llama3", "Q4_K_M")
        copied = self.work / "copied.gguf"
        run(INGOT, "convert", theirs, "-o", copied, "--type", "copy", "--no-provenance",
            "--progress", "none")
        self.assertIsNone(first_difference(copied, theirs))
        again = self.work / "again.gguf"
        run(INGOT, "convert", self.reference["llama3"], "-o", again, "--type", "Q4_K_M",
            "--no-provenance", "--progress", "none")
        self.assertIsNone(first_difference(again, theirs))
        report = json.loads(run(INGOT, "check", theirs, "--json"))
        self.assertTrue(report["passed"])

    def test_tokens_equal_those_of_the_libraries_and_of_llama_cpp(self):
        encoding = ROOT / "Fixtures" / "tokenizers" / "encoding"
        texts = random_texts(4000, seed=20)
        file = self.work / "texts.bin"
        file.write_bytes(b"".join(text.encode() + b"\0" for text in texts))

        def ours(path, *flags):
            lines = run(INGOT, "tokenize", path, "--file", file, "--null", "--no-bos", *flags)
            return [json.loads(line)["tokens"] for line in lines.split("\n") if line]

        def compare(name, found, expected):
            self.assertEqual(len(found), len(texts))
            for text, a, b in zip(texts, found, expected):
                self.assertEqual(a, b, f"{name}: {text!r}")

        modes = ((True, []), (False, ["--no-special"]))
        for folder in (MODELS / "llama3", encoding / "hard-llama3", encoding / "hard-llama4",
                       encoding / "characters-prep", encoding / "characters-metafirst"):
            peer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            for parses, flags in modes:
                peer.encode_special_tokens = not parses
                expected = [e.ids for e in peer.encode_batch(texts, add_special_tokens=False)]
                compare(f"{folder.name} {flags}", ours(folder, *flags), expected)
        for folder in (MODELS / "llama2", encoding / "sentencepiece-extra",
                       encoding / "sentencepiece-unused", encoding / "sentencepiece-user"):
            peer = sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
            compare(folder.name, ours(folder, "--no-special"), peer.encode(texts))
        for model in ("llama3", "llama2"):
            archive = self.converted(model, "Q4_0", suffix="-tokens")
            peer = llama_cpp.Llama(str(archive), vocab_only=True, verbose=False)
            for parses, flags in modes:
                expected = [
                    peer.tokenize(t.encode(), add_bos=False, special=parses) for t in texts]
                compare(f"{archive.name} {flags}", ours(archive, *flags), expected)
            peer.close()


def random_texts(count, seed):
    """Short texts of all of Unicode, and of what tokenizers treat in ways of their own."""
    source = random.Random(seed)
    hard = (
        "'s 'S 't 're 'Ve 'll 'd '\u017f \u2581 \u0301 a A ab AB aB 12 1234 \u0663 \u00bd \u4e2d \u30a2 \u0e01 \u01c5 "
        "\u02b0 \u00df \U0001f642 \u200d / // ! ... _ <0x0A> <s> </s> <unk> <|eot_id|> <|eot|> [plain] [left] "
        "[right] word <|im|> \u1c89 \U00010d40 def return the").split(" ")
    hard += [" ", "  ", "\n", "\r\n", " \n", "\t", "\u00a0", "\u3000", "\u0085", "\x1c", "\x0b", "\u2028"]

    def character():
        while True:
            value = source.randrange(1, source.choice((0x80, 0x800, 0x3000, 0x11000, 0x110000)))
            if not 0xD800 <= value < 0xE000:
                return chr(value)

    return [
        "".join(
            source.choice(hard) if source.random() < 0.6 else character()
            for _ in range(source.choice((1, 2, 4, 8, 16, 32))))
        for _ in range(count)
    ]


if __name__ == "__main__":
    unittest.main(verbosity=2)
