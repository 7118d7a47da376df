//! What operators read.
use super::*;
