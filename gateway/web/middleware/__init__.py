"""What happens around every request, outermost first: errors, identity, project."""
