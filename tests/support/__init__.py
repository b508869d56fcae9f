"""What tests of several kinds share: real servers on free ports."""
