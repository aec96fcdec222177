"""Online inference: Ray Serve hosts a published weak model over HTTP, with a page for people."""
