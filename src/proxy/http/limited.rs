//! Limits of the routes that have a say in a request.

use super::fields::Fields;
use super::reply::Reply;
use super::session::Session;
use crate::model::FieldName;
use crate::proxy::counts::bump;
use crate::proxy::limits;

/// Counts the request in, or says what its client is told instead.
pub(super) fn ask(session: &mut Session<'_>) -> Result<(), Reply> {
    let Session { worker, bound, routed, request, began, .. } = session;
    let field = |name: &FieldName| only_value(&request.fields, name);
    match limits::ask(&worker.shared.limiter, &routed.decision, routed.client, field, *began) {
        Ok(held) => {
            routed.held = held;
            Ok(())
        }
        Err(refused) => {
            bump(&bound.counts.requests_refused);
            Err(Reply::limited(refused))
        }
    }
}

/// The value of a field that stands there once and says something. One that stands there twice may be read one way here and
/// another way behind, so it is nobody's key.
pub(crate) fn only_value<'a>(fields: &'a Fields, name: &FieldName) -> Option<&'a [u8]> {
    let mut values = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_str().as_bytes()));
    match (values.next(), values.next()) {
        (Some(only), None) => Some(only.value).filter(|value| !value.is_empty()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_counts_where_it_stands_once_and_says_something() {
        for (fields, value) in [
            (&[("X-Api-Key", "gold")][..], Some("gold")),
            (&[("x-api-key", "")], None),
            (&[("X-Api-Key", "gold"), ("x-api-key", "other")], None),
            (&[("X-Api", "gold")], None),
        ] {
            let mut all = Fields::default();
            fields.iter().for_each(|(name, value)| all.push(name.as_bytes(), value.as_bytes()));
            assert_eq!(only_value(&all, &"X-Api-Key".parse().unwrap()), value.map(str::as_bytes), "{fields:?}");
        }
    }
}
