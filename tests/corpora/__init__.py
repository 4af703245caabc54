"""Tests of `biote.corpora`; a package, because tests of commands have the same names."""
