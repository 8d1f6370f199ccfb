//! Cutting a stream into messages, resumable at every byte.
