//! `[listener.error_pages]`: pages for statuses that mean a failure. Their files are read with the settings.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::path::FILE;
use crate::catalog::rules::{CONTENT_TYPE, STATUSES};
use crate::document::{Fault, OneOrMore, Section, YesNo, quoted};
use crate::model::StatusRange;
use crate::model::limits::{ERROR_PAGE_BYTES_MAX, ERROR_PAGES_MAX, ROUTE_VALUES_MAX};
use crate::proxy::{ErrorPage, ErrorPages};

/// What files are by the ends of their names.
const TYPES: [(&str, &str); 6] = [
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("json", "application/json"),
    ("xml", "application/xml"),
    ("svg", "image/svg+xml"),
];

/// `[listener.error_pages]`.
pub(super) fn listener(s: &mut Section<'_, '_, '_>) -> ErrorPages {
    let read = s.optional_table("error_pages", "Pages for statuses of 400 to 599.", |s| {
        let intercept = s.key(
            "intercept",
            &YesNo,
            false,
            "Whether they also take the place of what nodes answer; 401 and 407 are always the node's.",
        );
        let pages = s.one_or_more(
            "page",
            ERROR_PAGES_MAX,
            "A page, or a list of them. The first that is for a status counts.",
            page,
        );
        if pages.is_empty() && !s.is_describing() && !s.is_set("page") {
            let fault = Fault::new(s.origin(), s.path_of("page"), "it is missing")
                .hint("write page = { status = \"500-599\", file = \"/etc/evenkeel/50x.html\" }");
            s.reader().fault(fault);
        }
        ErrorPages { pages: pages.into_iter().flatten().collect(), intercept }
    });
    read.unwrap_or_default()
}

fn page(s: &mut Section<'_, '_, '_>) -> Option<ErrorPage> {
    let statuses: Option<Vec<StatusRange>> =
        s.required("status", &OneOrMore(STATUSES, ROUTE_VALUES_MAX), "The statuses that it is for, within 400 to 599.");
    let file: Option<PathBuf> = s.required("file", &FILE, "The file with the page, at most 256 KiB.");
    let content_type = s.optional("content_type", &CONTENT_TYPE, "by the end of the file's name", "What it is.");
    let (statuses, file) = (statuses?, file?);
    let whole = StatusRange::new(400, 599);
    let is_within = |range: &StatusRange| whole.is_some_and(|whole| range.is_within(whole));
    if !statuses.iter().all(is_within) {
        let fault = Fault::new(s.origin_of("status"), s.path_of("status"), "only statuses of 400 to 599 have pages")
            .allowed("400 to 599");
        s.reader().fault(fault);
        return None;
    }
    let extension = file.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    let known = TYPES.iter().find(|(end, _)| *end == extension).map(|(_, kind)| Arc::from(*kind));
    let Some(content_type) = content_type.or(known) else {
        let fault = Fault::new(s.origin_of("file"), s.path_of("file"), "the end of its name does not say what it is")
            .found(quoted(&file.display()))
            .hint("say content_type = \"text/html; charset=utf-8\"");
        s.reader().fault(fault);
        return None;
    };
    s.reader().note_file(&file);
    match bytes(&file) {
        Ok(body) => Some(ErrorPage { statuses, body, content_type }),
        Err(wrong) => {
            let fault = Fault::new(s.origin_of("file"), s.path_of("file"), wrong).found(quoted(&file.display()));
            s.reader().fault(fault);
            None
        }
    }
}

fn bytes(file: &Path) -> Result<Arc<[u8]>, String> {
    let mut bytes = Vec::new();
    let limit = ERROR_PAGE_BYTES_MAX as u64 + 1;
    let read = File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() > ERROR_PAGE_BYTES_MAX => Err(format!("it has more than {ERROR_PAGE_BYTES_MAX} bytes")),
        Ok(_) => Ok(bytes.into()),
        Err(error) => Err(match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            std::io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
            _ => format!("it cannot be read: {error}"),
        }),
    }
}
