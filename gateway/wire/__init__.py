"""HTTP/1.1 as bytes in, events out: grammar, framing and writing, without I/O."""
