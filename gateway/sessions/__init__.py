"""Sessions and turns as values and as events: created, revived, ended."""
