"""What others do with large values: the same puts and reads through their stores."""
