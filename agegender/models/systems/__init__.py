"""One file a system: its options and how its networks are built."""
