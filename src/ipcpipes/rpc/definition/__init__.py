"""Interfaces: their operations, and the types of the parameters and results. No I/O."""
