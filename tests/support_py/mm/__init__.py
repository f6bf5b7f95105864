"""mm: what the Python tests of mqtt-master share: packets, a blocking client, and the broker under test."""
