//! The data plane: routes, split, endpoints and the HTTP proxy on pingora.
