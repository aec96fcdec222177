"""Published models on labelled images: how good they are there, and what makes them fit for a site. Nothing is trained."""
