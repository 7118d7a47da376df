//! What holds for all tests alike.

mod expectation;
mod monitor;
mod monotone;
mod numbers;
