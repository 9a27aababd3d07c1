"""Datasets of face chips: labels, duplicates, splits, augmentation and batches."""
