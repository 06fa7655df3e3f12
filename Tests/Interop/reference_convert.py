"""Runs llama.cpp's own converter on a checkpoint whose tokenizer it does not know.

The converter recognises a pre-tokenizer by a hash of sample tokens; the bundled models have small
vocabularies of their own, so the name is given to it here. Everything else is the converter's.

usage: reference_convert.py PRE_TOKENIZER CHECKPOINT OUT.gguf [OUTTYPE (f32)]
"""

import os
import runpy
import sys

name, checkpoint, output = sys.argv[1:4]
source = os.path.join(os.environ["INGOT_PEERS"], "llama.cpp")
sys.path.insert(0, source)

from conversion import base  # noqa: E402

base.TextModel.get_vocab_base_pre = lambda self, tokenizer: name

script = os.path.join(source, "convert_hf_to_gguf.py")
outtype = sys.argv[4] if len(sys.argv) > 4 else "f32"
sys.argv = [script, checkpoint, "--outtype", outtype, "--outfile", output]
runpy.run_path(script, run_name="__main__")
