"""What the commands do that change something in the database and end, whether a gateway runs on it or not."""
