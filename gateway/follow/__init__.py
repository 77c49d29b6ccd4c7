"""Following containers' event streams, under a lease for each project, into the log."""
