"""Run biote as ``python -m biote``."""

from biote.cli import console_script

console_script()
