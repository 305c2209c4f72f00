"""Patches cut from the training scans, at random and augmented."""
