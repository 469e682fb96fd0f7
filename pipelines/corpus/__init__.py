"""Sources of images: folders, buckets, lists, tar and Parquet files."""
