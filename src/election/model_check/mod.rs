//! Every order of events there can be, within bounds, on the product's own machine.
//!
//! Messages that were sent stay, and each may be delivered at any time, again and again, or never: so loss, duplication and
//! reordering are not events but what is always possible. A peer may crash between any two events, with or without its
//! disk. Most scenarios run without time: every timer is due whenever it likes, nobody is held back, and no lease ends, which
//! is more than any clock could do. The scenarios about leases have a clock that moves in steps.
//!
//! What a peer does with one event depends on that peer alone, so it is computed once for each pair of state and event; the
//! checker then walks over numbers.

mod memo;
mod properties;
mod scenario;
mod space;
mod tests;
