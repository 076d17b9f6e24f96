"""Converters that are wrong on purpose: the reference with one part replaced, one for each bug that really happened."""
