"""What is measured, against what: ``python -m bench`` lists it, ``python -m bench NAME`` runs it."""
