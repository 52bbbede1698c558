//! The decoder of this folder, for `crate::fuzzing`.

use super::Sources;

/// The text of a settings file: whatever stands there, it is settings or a list of faults.
pub(crate) fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(refused) = super::read("evenkeel.toml", Ok(Some(text)), &Sources::default()) {
        assert!(refused.faults.count() > 0, "who is refused is told why");
    }
}

pub(crate) fn files() -> Vec<Vec<u8>> {
    let file = "[peer]\nid = \"ams-1\"\n[api]\nlisten = \"127.0.0.1:7946\"\n\
                [[listener]]\nname = \"web\"\nlisten = \"127.0.0.1:8000\"\nprotocol = \"http\"\npool = \"web\"\n\
                [[pool]]\nname = \"web\"\nhealth = { type = \"http\", path = \"/health\", interval = \"2s\" }\n\
                [[pool.node]]\nid = \"web-1\"\naddress = \"127.0.0.1:9001\"\nweight = 3\n";
    vec![file.as_bytes().to_vec(), b"pool = [{ name = \"a\", node = [{ address = \"[::1]:1\" }] }]".to_vec()]
}
