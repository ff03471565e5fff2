"""Sockets: accepting, serving, dialling and leasing connections. Decides nothing."""
