"""Genes and their proteins, for contrastive learning on frozen states."""
