"""What an interface says: its operations, and the types of their parameters. No I/O."""
