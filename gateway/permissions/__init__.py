"""Permission requests: asked, decided by rules, answered by people, and brought to containers."""
