"""The configuration: its values, where they are read from, and how they change while a gateway runs."""
