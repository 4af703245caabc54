"""Suites of benchmarks: their tasks, how they are run, and what their tables hold."""
