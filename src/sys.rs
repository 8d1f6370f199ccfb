//! What std lacks: reserve blocks, signals, SIGBUS, terminal width, sendfile.
