"""What a request may hold, in the words of remove.bg's API and of rembg's."""
