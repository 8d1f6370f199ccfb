"""Scenarios of interoperability, and what they share."""
