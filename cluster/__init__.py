"""Ray clusters: start or join one. Stands alone: nothing here knows what runs on it."""
