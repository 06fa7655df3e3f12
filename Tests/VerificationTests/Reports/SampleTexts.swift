/// What reports have to look like, to be read as a whole.
enum SampleTexts {
  static let passed = """
    PASSED  2 gates kept; 48 tensors as close as their types allow

    Run
      Reference  models/llama3  (checkpoint, 11.55 MB, 16.00 bits per weight, BF16)
      Candidate  out/llama3-Q4_K_M.gguf  (archive, 3.57 MB, 4.86 bits per weight, Q4_K_M)
      Text       eval.txt  (64.00 kB, 22057 tokens, 86 chunks of 256, 10922 positions scored, each chunk begins with BOS)
      Run        14.3 s  (peak memory 327.16 MB)

    Figures
      Perplexity of the reference       11.792 ± 0.281
      Perplexity of the candidate       11.902 ± 0.284
      Perplexity ratio               1.00931 ± 0.00141  ln 0.00927 ± 0.00140
      Mean KL divergence           0.011315 ± 0.000170  nats per token
      KL divergence, median                   0.004900  at most 0.00510
      KL divergence, 90 %                      0.02560  at most 0.0266
      KL divergence, 95 %                      0.03710  at most 0.0392
      KL divergence, 99 %                      0.06735  at most 0.0731
      KL divergence, 99.9 %                     0.1610  at most 0.240
      KL divergence, maximum                    0.5100
      Same first choice               93.499 ± 0.236 %
      Probability shift, RMS         2.3410 ± 0.0400 %  of the right token

    Gates
      gate            value  95 % bound             limit
      max-mean-kld  0.01132     0.01154  at most    0.063  ok
      min-top1      93.50 %     93.09 %  at least  86.5 %  ok

    Drift by layer  a bar for each of 7, figures for 3
      ▂▃▃▆▇▇█
      layer      relative error    cosine
      embedding          0.0210  0.999700
      2                  0.0780  0.998800  ← the drift begins here
      5                   0.112  0.997900

    Worst tensors  8 of 48, findings first, then by error as a part of what the type allows
      tensor                    type   error  allowed  of allowed    cosine
      blk.2.attn_q.weight       Q4_K  0.0809    0.100        81 %  0.996724
      blk.5.attn_output.weight  Q4_K  0.0800    0.100        80 %  0.996798
      blk.5.attn_q.weight       Q4_K  0.0800    0.100        80 %  0.996801
      blk.2.attn_k.weight       Q4_K  0.0798    0.100        80 %  0.996816
      blk.5.attn_k.weight       Q4_K  0.0789    0.100        79 %  0.996890
      blk.4.ffn_gate.weight     Q5_K  0.0390   0.0500        78 %  0.999240
      blk.1.attn_output.weight  Q4_K  0.0777    0.100        78 %  0.996982
      blk.1.attn_q.weight       Q4_K  0.0776    0.100        78 %  0.996987
      48 of 49 tensors are compared one by one; rope_freqs.weight is compared as rotary frequencies

    Worst tokens  2 of 10922 positions, by KL divergence; probability of the token after ▸: reference → candidate
      3.41  … at most size bytes.\"""↵    return self.▸  _buffer  61.0 % → 1.80 %
      2.20  …raise ValueError("▸unknown  20.0 % → 0.00170 %

    """
}
