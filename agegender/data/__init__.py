"""What training needs of a folder of face chips: labels, duplicates, splits, augmentation and batches."""
