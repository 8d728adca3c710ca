"""The Quantized CNN: weights as codewords, inner products by look-up tables (Wu et al. 2016)."""
