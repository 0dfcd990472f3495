"""The session, guard and recovery protocol, explored exhaustively: every order of steps, faults included, of a small
cluster. What is explored is the product's own code; docs/explanation/model.md says how, and what was found.
"""
