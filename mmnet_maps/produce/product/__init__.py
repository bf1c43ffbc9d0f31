"""The product store and its ledger."""
