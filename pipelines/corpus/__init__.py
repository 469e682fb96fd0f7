"""What can be labelled: folders, buckets, lists, tar and Parquet files."""
