"""What both ends of a connection decide, whatever the driver. No I/O."""
