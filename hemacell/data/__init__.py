"""What is on disk, as a manifest (path, label, split, group, mask, digest) and as uint8 arrays decoded once."""
