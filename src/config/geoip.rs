//! `[geoip]`: the file that says where addresses are.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::path::FILE;
use crate::document::{Fault, Section, quoted};
use crate::geo::Geo;
use crate::model::limits::GEOIP_FILE_BYTES_MAX;

pub(super) fn geoip(s: &mut Section<'_, '_, '_>) -> Option<Arc<Geo>> {
    s.table(
        "geoip",
        "Where clients are, by country and continent: what `countries` and `continents` of regions go by. Read again when the file \
         changes.",
        |s| {
            let file = s.optional(
                "file",
                &FILE,
                "none",
                "A MaxMind DB with countries or cities: GeoLite2, GeoIP2, DB-IP. None comes with Evenkeel.",
            )?;
            s.reader().note_file(&file);
            match read(&file) {
                Ok(geo) => Some(Arc::new(geo)),
                Err(wrong) => {
                    let fault = Fault::new(s.origin_of("file"), s.path_of("file"), wrong)
                        .found(quoted(&file.display()))
                        .hint("geoipupdate and others write a whole file; leave [geoip] out if you have none");
                    s.reader().fault(fault);
                    None
                }
            }
        },
    )
}

fn read(file: &Path) -> Result<Geo, String> {
    let cannot = |error: std::io::Error| format!("it cannot be read: {error}");
    let mut bytes = Vec::new();
    let limit = GEOIP_FILE_BYTES_MAX as u64 + 1;
    File::open(file).map_err(cannot)?.take(limit).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > GEOIP_FILE_BYTES_MAX {
        return Err(format!("it has more than {GEOIP_FILE_BYTES_MAX} bytes"));
    }
    Geo::new(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use crate::config::{Sources, read};

    const GOOD: &str = "[[pool]]\nname = \"web\"\nnode = [{ id = \"web-1\", address = \"127.0.0.1:3000\" }]\n";

    #[test]
    fn the_file_is_read_with_the_settings_and_one_that_is_none_is_refused() {
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/src/geo/fixture.mmdb");
        let of = |file: &str| {
            let text = format!("{GOOD}[geoip]\nfile = {file:?}\n");
            read("evenkeel.toml", Ok(Some(&text)), &Sources::default())
        };
        let geo = of(fixture).unwrap_or_else(|refused| panic!("{refused}")).settings.peer.geo.expect("a file");
        assert_eq!(geo.about().0, "Test-Country");
        let told = of("/nowhere.mmdb").expect_err("it is not there").faults.to_string();
        assert!(told.contains("geoip.file") && told.contains("it cannot be read"), "{told}");
        let told = of(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).expect_err("no database").faults.to_string();
        assert!(told.contains("it is no MaxMind DB"), "{told}");
    }
}
