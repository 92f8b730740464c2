"""An export on the hub, with a card that says what it is."""
