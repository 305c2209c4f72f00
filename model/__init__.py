"""The detector: a CT in, lesion points in world mm out."""
