"""Limits and keys that commands and configurations agree on."""

MAX_SEED = 2**32 - 1  # the largest seed that numpy, torch and gymnasium all accept
KEYS_OF_THE_PLAN = ("data", "overrides", "measure")  # keys of a suite that are not of its protocol
