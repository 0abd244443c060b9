"""The tests' equipment: real servers that can be killed, the proxy under test, relays that cut, peers that misbehave.

It decides nothing about what is right: that stands in the tests.
"""
