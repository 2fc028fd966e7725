"""The sections of a protocol, a module for each."""
