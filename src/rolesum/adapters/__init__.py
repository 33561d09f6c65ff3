"""The adapters that come with rolesum, a directory each, named by the base that it belongs to."""
