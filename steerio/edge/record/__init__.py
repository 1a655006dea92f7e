"""Records for people to read later: files of the run directory, and runs in MLflow."""
