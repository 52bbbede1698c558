//! The actor that asks nodes how they are: when, how often, what an answer means for the vote; and the names of nodes.
