"""Many photos into a folder of Parquet: the table and its parts, lists of photos, and the engines."""
