"""Image files of any origin to padded batches."""
