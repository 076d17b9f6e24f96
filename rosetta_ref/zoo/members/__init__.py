"""The members, a module for each class of bug."""
