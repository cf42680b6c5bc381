"""Files that hold samples and events: CSV, JSON Lines, Parquet and sessions."""
