"""Work that is killed at random moments; see `tools.kills.__main__`."""
