//! The decoder of this folder, for `crate::fuzzing`.

use super::{Unknown, read};

/// JSON that somebody says is a catalog: it is one, or a list of faults. What a user may write is no fault when the cluster
/// has agreed on it.
pub(crate) fn catalog(bytes: &[u8]) {
    let Ok(desired) = serde_json::from_slice(bytes) else { return };
    let kept = read(&desired, Unknown::Kept).map(|read| read.catalog);
    let written = read(&desired, Unknown::Refused).map(|read| read.catalog);
    for refused in [kept.as_ref().err(), written.as_ref().err()].into_iter().flatten() {
        assert!(refused.count() > 0, "who is refused is told why");
    }
    if written.is_ok() {
        assert_eq!(kept, written);
    }
}

pub(crate) fn catalogs() -> Vec<Vec<u8>> {
    let whole = r#"{"pool": [{"name": "web", "strategy": "p2c", "health": {"type": "http", "interval": "2s"}, "sticky": {"by": "cookie"},
        "node": [{"id": "web-1", "address": "10.0.0.1:80", "weight": 3}]}],
        "region": [{"name": "eu", "prefer": ["us"], "capacity": "1000/s", "weight": 1.5}],
        "server": [{"id": "s", "region": "eu", "address": "[::1]:1", "labels": {"rack": "7"}}],
        "route": [{"name": "r", "priority": 1, "when": {"path": ["/a/*"], "host": "*.example.com"}, "then": {"pool": "web"}}]}"#;
    vec![whole.as_bytes().to_vec(), whole.replace(r#""sticky": {"by": "cookie"},"#, "").into_bytes(), b"{}".to_vec()]
}
