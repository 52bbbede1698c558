//! Templates, filled in.

use std::io::Write;

use super::facts::Facts;
use super::path;
use crate::model::{Piece, RouteName, Template, Variable};

/// Writes what a template of this route says of a request. Of what is not HTTP it says nothing.
pub fn render<F: Facts + ?Sized>(template: &Template, facts: &F, route: &RouteName, out: &mut Vec<u8>) {
    let Some(head) = facts.head() else { return };
    for piece in template.pieces() {
        let text: &[u8] = match piece {
            Piece::Text(text) => text.as_bytes(),
            Piece::Variable(Variable::Host) => head.host(),
            Piece::Variable(Variable::Authority) => head.authority,
            // What is asked of the whole server (`OPTIONS *`, RFC 9112 section 3.2.4) has no path.
            Piece::Variable(Variable::Path | Variable::Target) if head.target == b"*" => b"",
            Piece::Variable(Variable::Path) => path::of(head.target),
            Piece::Variable(Variable::Target) => head.target,
            Piece::Variable(Variable::Scheme) => facts.scheme().as_str().as_bytes(),
            Piece::Variable(Variable::Listener) => facts.listener().as_str().as_bytes(),
            Piece::Variable(Variable::Route) => route.as_str().as_bytes(),
            Piece::Variable(Variable::Client) => {
                let written = write!(out, "{}", facts.client());
                debug_assert!(written.is_ok(), "a Vec takes everything");
                continue;
            }
        };
        out.extend_from_slice(text);
    }
}
