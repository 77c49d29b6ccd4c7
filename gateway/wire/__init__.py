"""Values and text formats that both sides of the wire share; nothing here does I/O."""
