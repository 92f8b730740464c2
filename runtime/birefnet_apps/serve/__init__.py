"""A server: pictures in by HTTP, cutouts out, within bounds that hold whatever is sent."""
