"""The HTTP interface for other programs: what `python -m agegender serve` answers."""
