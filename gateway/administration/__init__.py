"""Changes of projects, members and accounts, with their effects in other rooms."""
