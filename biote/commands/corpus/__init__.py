"""Commands on corpora: `biote corpus ...`."""
