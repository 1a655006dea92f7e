"""The process in the middle: it takes in messages, has the core decide, and performs that."""
