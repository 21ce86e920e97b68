"""Commands for environments and datasets."""
