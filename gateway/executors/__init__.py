"""Named bounded pools of threads and processes: where the users' blocking and computing Python runs."""
