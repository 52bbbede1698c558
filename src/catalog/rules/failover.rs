//! `[pool.failover]`, how nodes of a pool are moved to other servers, and `[failover]`, when regions are shifted.

use std::time::Duration;

use super::Over;
use crate::document::{Choice, Content, Form, Number, Section, Span, Words, Wrong, YesNo, parsed, quoted, whole};
use crate::model::limits::MOVES_KEPT_MAX;
use crate::model::{By, DriverName, Failover, Mode, ShiftPolicy};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const DAYS_30: Duration = Duration::from_secs(30 * 24 * 3_600);
/// More servers are not probed for one move.
const CANDIDATES_MAX: u64 = 16;

const BY: Words<By> = Words::of(
    "\"static\", or the name of a [[driver]] in the files of peers",
    |text| if text == By::STATIC { Ok(By::Static) } else { parsed::<DriverName>(text).map(By::Driver) },
    |by| quoted(&by.name()),
);

const MODE: Choice<Mode> = Choice::of(&Mode::ALL);

const PERCENT: Number<f64> = Number {
    allowed: "a number above 0, at most 100",
    read: |number| (number > 0.0 && number <= 100.0).then_some(number),
    show: |number| number.to_string(),
};

/// What is too much of something, where that may be nothing.
pub(super) struct TooMuch(pub(super) f64);

impl Form for TooMuch {
    type Out = Option<f64>;

    fn allowed(&self) -> String {
        format!("a number above 0, at most {}, or \"never\"", self.0)
    }

    fn read(&self, content: &Content) -> Result<Option<f64>, Wrong> {
        let number = match content {
            Content::Text(text) | Content::Word(text) if text == "never" => return Ok(None),
            Content::Float(number) => *number,
            Content::Integer(Some(number)) => *number as f64,
            Content::Word(word) => word.parse().map_err(|_| Wrong::new("it is neither a number nor never"))?,
            other => return Err(Wrong::kind(other, "a number, or \"never\"")),
        };
        if number > 0.0 && number <= self.0 { Ok(Some(number)) } else { Err(Wrong::new("it is outside of that")) }
    }

    fn show(&self, value: &Option<f64>) -> String {
        value.map_or_else(|| "\"never\"".to_owned(), |number| number.to_string())
    }
}

pub(super) fn failover(s: &mut Section<'_, '_, '_>) -> Failover {
    let default = Failover::default();
    let mode = s.key(
        "mode",
        &MODE,
        default.mode,
        "How a node leaves its server: `immediate`, or `graceful`, when its old work is done or `drain_timeout` is over.",
    );
    let drains = mode == Mode::Graceful || s.is_describing();
    Failover {
        enabled: s.key("enabled", &YesNo, default.enabled, "Whether nodes are moved by themselves. Where not, operators do it."),
        by: s.key(
            "driver",
            &BY,
            default.by,
            "By what. `static`: the node's address becomes that of the server, with the port of the server or its own. The name of a \
             driver: whatever that does, at a peer whose file has it.",
        ),
        mode,
        drain_timeout: s.only(drains, "mode = \"graceful\"", |s| {
            s.key("drain_timeout", &Span(Duration::ZERO, DAY), default.drain_timeout, "How long the old work may take.")
        }),
        moves_per_hour: s.key(
            "moves_per_hour",
            &whole(1, MOVES_KEPT_MAX as u64),
            default.moves_per_hour,
            "Moves of one node in an hour, also by operators, unless these say otherwise.",
        ),
        cooldown: s.key("cooldown", &Span(Duration::ZERO, DAY), default.cooldown, "From one move of a node to the next."),
        candidates: s.key(
            "candidates",
            &whole(1, CANDIDATES_MAX),
            default.candidates,
            "Servers that are probed, the best first; the best that answers is taken.",
        ),
        down_for: s.key(
            "down_for",
            &Span(Duration::ZERO, DAY),
            default.down_for,
            "How long a node has to be down before it is moved.",
        ),
        cpu_percent: s.key(
            "cpu_percent",
            &TooMuch(100.0),
            default.cpu_percent,
            "Percent of the processors of its machine: more than that for `hot_for` moves it. Known of nodes of a docker driver.",
        ),
        memory_mb: s.key(
            "memory_mb",
            &TooMuch(100_000_000.0),
            default.memory_mb,
            "Millions of bytes: more than that for `hot_for` moves a node. Known of nodes of a docker driver.",
        ),
        hot_for: s.key("hot_for", &Span(SECOND, DAY), default.hot_for, "How long that has to last."),
        verify_timeout: s.key(
            "verify_timeout",
            &Span(SECOND, HOUR),
            default.verify_timeout,
            "How long a node may take to be up on its new server; then it goes back.",
        ),
    }
}

/// `[failover]`.
pub(super) fn shifts(s: &mut Section<'_, '_, '_>, over: &Over) -> ShiftPolicy {
    let default = ShiftPolicy::default();
    ShiftPolicy {
        enabled: s.key_overridden(
            "enabled",
            &YesNo,
            default.enabled,
            "Whether the traffic of a region that is lost is held away from it until it has been well for a while. What cannot stay \
             goes elsewhere at once in any case.",
            over.auto_shift.as_ref(),
        ),
        after: s.key("after", &Span(SECOND, DAY), default.after, "How long a region has to be lost: none of its nodes can be used."),
        stable: s.key(
            "stable",
            &Span(SECOND, DAY),
            default.stable,
            "How long it has to be well before its traffic comes back.",
        ),
        step: s.key(
            "step",
            &Span(SECOND, HOUR),
            default.step,
            "How long each step of coming back takes: 10, 25, 50 percent, then all.",
        ),
        errors_percent: s.key(
            "errors_percent",
            &PERCENT,
            default.errors_percent,
            "While it comes back: so many percent more errors among the answers of its nodes than elsewhere take it back.",
        ),
        manual: s.key(
            "manual",
            &Span(SECOND, DAYS_30),
            default.manual,
            "How long an operator's shift lasts who does not say how long.",
        ),
    }
}
