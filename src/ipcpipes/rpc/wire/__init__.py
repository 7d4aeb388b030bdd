"""The bytes of the protocol: frames, bodies and pipe chunks. No I/O."""
