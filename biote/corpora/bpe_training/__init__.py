"""Byte-pair encodings from sequences: a bounded sample, SentencePiece, a tokenizer folder."""
