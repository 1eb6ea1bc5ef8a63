"""What people look at: tables at the terminal."""
