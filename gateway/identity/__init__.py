"""Who asks, and what they may do: ways to identify a caller, and the members of projects."""
