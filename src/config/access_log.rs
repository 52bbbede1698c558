//! `[listener.access_log]`: what a listener logs of its traffic, and where.

use crate::document::{Choice, Fault, Number, Section, Words, YesNo, parsed, quoted};
use crate::proxy::access_log::{Destination, Facility, Format, Settings, Share};

const FORMAT: Words<Format> = Words::of(
    "\"json\", \"common\", \"combined\", or a text in which words in braces stand for something: \"{client} {status}\"",
    parsed,
    |format| format!("{:?}", format.to_string()),
);

const DESTINATION: Words<Destination> = Words::of(
    "\"stdout\", \"file:/path\", \"syslog\", \"syslog:unix:/path\", \"syslog:udp://address:port\"",
    parsed,
    quoted,
);

const SHARE: Number<Share> =
    Number { allowed: "a number above 0, at most 1", read: Share::new, show: |share| share.get().to_string() };

const FACILITY: Choice<Facility> = Choice::of(&Facility::NAMES);

/// `[listener.access_log]`; `None` where it is left out, or wrong.
pub(super) fn listener(s: &mut Section<'_, '_, '_>) -> Option<Settings> {
    s.optional_table(
        "access_log",
        "A line for each request, or each connection of a `tcp` listener. Left out: nothing is logged.",
        access_log,
    )
    .flatten()
}

fn access_log(s: &mut Section<'_, '_, '_>) -> Option<Settings> {
    let format = s.key_unless_refused("format", &FORMAT, Format::Json, "How a line looks.");
    let to = s.key_unless_refused(
        "to",
        &DESTINATION,
        Destination::Stdout,
        "Where lines go. A file is opened anew at SIGHUP; `syslog` is `syslog:unix:/dev/log`. A syslog of this machine gets \
         lines as the C library sends them, one elsewhere gets them by RFC 5424.",
    );
    let facility = s.optional("facility", &FACILITY, "`local7`", "By what syslog sorts.");
    let sample = s.key(
        "sample",
        &SHARE,
        Share::ALL,
        "Which share of requests is logged, at random. Those that are answered with 500 or above always are.",
    );
    let query = s.key(
        "query",
        &YesNo,
        false,
        "Whether `json`, `common` and `combined` have queries, those of referers included: they often hold secrets.",
    );
    let (format, to) = (format?, to?);
    if facility.is_some() && !to.is_syslog() {
        let fault = Fault::new(s.origin_of("facility"), s.path_of("facility"), "only syslog has facilities")
            .hint("remove it, or say to = \"syslog\"");
        s.reader().fault(fault);
        return None;
    }
    Some(Settings { format, to: to.with_facility(facility.unwrap_or_default()), sample, query })
}
