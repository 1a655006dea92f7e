"""Records of a run: files and MLflow runs for people, and a journal for programs."""
