//! What is asked and answered, whatever carries it.
