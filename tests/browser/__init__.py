"""Tests that need a real browser: the web client in WebRTC calls."""
