//! How one check of one node is done: HTTP, TCP. Each returns what it found and how long each phase took.
