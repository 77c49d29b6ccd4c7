"""Changes of projects, members and accounts, with what each brings with it in other rooms."""
