"""From SAM's features to masks: feature pyramid, pixel decoder, mask decoder."""
