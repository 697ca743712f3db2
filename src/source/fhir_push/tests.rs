//! Through the router, without a socket.
