//! Simulated rollouts.
use super::*;
