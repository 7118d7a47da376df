//! Open-loop load and origins with dialled faults: what proves the claims.
