"""Permission requests: their rules, answers, and delivery to containers."""
