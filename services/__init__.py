"""The services of Roompulse, one package each, and the command line that starts them."""
