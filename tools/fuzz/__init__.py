"""Hostile files, by the thousand: seeds, mutations, and the command that tries a million of them."""
