"""What the audit and the dataset explorer ask of a folder of labelled face chips."""
