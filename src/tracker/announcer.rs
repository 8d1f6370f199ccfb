//! One thread a tracker, each with its deadline, until let go of.
