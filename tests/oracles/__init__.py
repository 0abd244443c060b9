"""The oracles: a bank and an append history, driven through holdfast while its servers die, and checked against the database."""
