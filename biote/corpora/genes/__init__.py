"""Genes and the proteins they code for, from annotated GenBank files."""
