"""The backend's service: a supervisor that holds sockets, queue and journal, and a worker that computes."""
