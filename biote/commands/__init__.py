"""Commands beside fit, validate, test and predict: one file each."""
