//! Connections that are cut, slow, corrupt or out of order, at every byte of a lookup.
