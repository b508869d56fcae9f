"""What flows through Roompulse, as types: no input or output happens in this package."""
