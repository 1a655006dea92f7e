"""What is written for people to read later."""
