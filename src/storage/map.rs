//! The memory map the owner writes through.
