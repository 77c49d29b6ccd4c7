"""What containers say becomes events of the log: masked, translated, reconciled."""
