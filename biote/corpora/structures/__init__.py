"""Structures of proteins and nucleic acids: chains, contacts, and what is painted on them."""
