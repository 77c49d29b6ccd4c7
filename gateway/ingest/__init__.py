"""Containers' events become events of the log: masked, translated, reconciled."""
