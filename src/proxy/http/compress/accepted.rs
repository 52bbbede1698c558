//! `Accept-Encoding` (RFC 9110 section 12.5.3).

use super::Algorithm;
use crate::proxy::http::fields;

/// Weights are thousandths.
const WHOLE: u16 = 1_000;

/// The algorithm that a client likes best, of those that stand alike the first of `order`. `None`: it takes none, or likes it
/// better without.
pub(super) fn best<'a>(values: impl Iterator<Item = &'a [u8]>, order: &[Algorithm]) -> Option<Algorithm> {
    let mut said: [Option<u16>; Algorithm::ALL.len()] = [None; Algorithm::ALL.len()];
    let (mut plain, mut others) = (None, None);
    for item in fields::list(values) {
        let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        // What is malformed says nothing.
        let Some(weight) = weight(parts) else { continue };
        if name == b"*" {
            others = Some(weight);
        } else if name.eq_ignore_ascii_case(b"identity") {
            plain = Some(weight);
        } else if let Some(at) = Algorithm::ALL.iter().position(|algorithm| is_named(*algorithm, name)) {
            said[at] = Some(weight);
        }
    }
    let weight_of = |algorithm: Algorithm| said[algorithm as usize].or(others).unwrap_or(0);
    let most = order.iter().map(|&algorithm| weight_of(algorithm)).max().filter(|&weight| weight > 0)?;
    if plain.is_some_and(|plain| plain > most) {
        return None;
    }
    order.iter().copied().find(|&algorithm| weight_of(algorithm) == most)
}

fn is_named(algorithm: Algorithm, name: &[u8]) -> bool {
    // RFC 9110 section 8.4.1.3 has the second name of gzip.
    name.eq_ignore_ascii_case(algorithm.name().as_bytes())
        || (algorithm == Algorithm::Gzip && name.eq_ignore_ascii_case(b"x-gzip"))
}

/// The weight among parameters; whole where there is none.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a [u8]>) -> Option<u16> {
    let Some(said) = parameters.find_map(|parameter| parameter.strip_prefix(b"q=").or(parameter.strip_prefix(b"Q=")))
    else {
        return Some(WHOLE);
    };
    let (whole, fraction) = match said {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] => (whole, fraction),
        _ => return None,
    };
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |digit| u16::from(digit - b'0'));
    let thousandths = digit(0) * 100 + digit(1) * 10 + digit(2);
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(WHOLE),
        _ => None,
    }
}
