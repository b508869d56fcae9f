"""Simulated traffic, and a customer's server that receives its callbacks."""
