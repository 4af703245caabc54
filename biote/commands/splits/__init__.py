"""Commands on splits: `biote splits ...`."""
