"""Synthetic CT of the trunk whose lesions are all known."""
