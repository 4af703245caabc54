"""Commands on tokenizers: `biote tokenizer ...`."""
