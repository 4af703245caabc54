"""Generators of learnable data in the real file formats, determined by a seed."""
