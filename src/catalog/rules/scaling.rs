//! `[pool.scaling]`: when nodes are started and stopped.

use std::time::Duration;

use super::OverScaling;
use crate::document::{Choice, Fault, ListOf, Number, Section, Span, WholeOf, YesNo, name, quoted, whole};
use crate::model::limits::{NODES_MAX, REGIONS_MAX};
use crate::model::{Band, By, DriverName, Load, LoadTarget, RegionName, Scaling};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

const LOAD: Choice<Load> = Choice::of(&Load::ALL);

/// Nodes of a region that there are at most.
pub(crate) const NODES_AT_MOST: WholeOf<u32> = whole(1, NODES_MAX as u64);

pub(crate) const MUCH: Number<f64> = Number {
    allowed: "a number above 0, at most 1000000000",
    read: |number| (number > 0.0 && number <= 1e9).then_some(number),
    show: |number| number.to_string(),
};

pub(crate) const LITTLE: Number<f64> = Number {
    allowed: "a number, at least 0 and at most 1000000000",
    read: |number| (0.0..=1e9).contains(&number).then_some(number),
    show: |number| number.to_string(),
};

pub(super) fn scaling(s: &mut Section<'_, '_, '_>, over: &OverScaling) -> Option<Scaling> {
    let driver: Option<DriverName> =
        s.required("driver", &name(), "By what nodes are started and stopped: a [[driver]] in the files of peers.");
    if driver.as_ref().is_some_and(|driver| driver.as_str() == By::STATIC) {
        let fault =
            Fault::new(s.origin_of("driver"), s.path_of("driver"), "nothing can be started by the catalog alone");
        s.reader().fault(fault.found(quoted(&By::STATIC)).hint("name a [[driver]]"));
    }
    let unnamed = || "unnamed".parse().expect("`unnamed` is a legal name");
    let default = Scaling::new(driver.clone().unwrap_or_else(unnamed));
    let enabled = s.key_overridden(
        "enabled",
        &YesNo,
        default.enabled,
        "Whether that happens by itself. Where not, operators scale.",
        over.enabled.as_ref(),
    );
    let regions: Vec<RegionName> = s.key(
        "regions",
        &ListOf(name(), REGIONS_MAX),
        Vec::new(),
        "Where. None: in every region where the pool has a node of its own.",
    );
    let min_nodes = s.key(
        "min_nodes",
        &whole(0, NODES_MAX as u64),
        default.min_nodes,
        "Nodes of a region that there are at least, those of the catalog included.",
    );
    let max_nodes = s.key_overridden(
        "max_nodes",
        &NODES_AT_MOST,
        default.max_nodes,
        "Nodes of a region that there are at most.",
        over.max_nodes.as_ref(),
    );
    let none = OverScaling::default();
    let connections = Some(s.table(
        "connections",
        "By requests and connections at a node, as the mean of the region's usable nodes, over all peers.",
        |s| band(s, Scaling::CONNECTIONS_DEFAULT, over),
    ));
    let cpu = s.optional_table(
        "cpu",
        "By percent of the processors of its machine, the same mean. Known of nodes of a docker driver. Left out: not by that.",
        |s| {
            let band = band(s, Scaling::CPU_DEFAULT, &none);
            if band.up > 100.0 {
                let fault = Fault::new(s.origin_of("up"), s.path_of("up"), "it is percent, and never more than 100");
                s.reader().fault(fault.found(band.up.to_string()));
            }
            band
        },
    );
    let memory = s.optional_table(
        "memory",
        "By millions of bytes, the same mean. Known of nodes of a docker driver. Left out: not by that.",
        |s| band(s, Scaling::MEMORY_DEFAULT, &none),
    );
    let target = s
        .optional_table(
            "target",
            "So many nodes that the mean is this, as far as that is more than a tenth away. In the place of the bands.",
            |s| {
                let load = s.key("of", &LOAD, Load::Connections, "What.");
                let value = s.required("value", &MUCH, "How much of it.");
                Some(LoadTarget { load, value: value? })
            },
        )
        .flatten();
    if target.is_some() {
        for key in ["connections", "cpu", "memory"].into_iter().filter(|key| s.is_set(key)).collect::<Vec<_>>() {
            let (origin, path) = (s.origin_of(key), s.path_of(key));
            s.reader().warn(origin, path, "it has no effect beside `target`, which stands in its place");
        }
    }
    let scaling = Scaling {
        enabled,
        regions: (!regions.is_empty()).then_some(regions),
        min_nodes,
        max_nodes,
        connections: connections.filter(|_| target.is_none()),
        cpu: cpu.filter(|_| target.is_none()),
        memory: memory.filter(|_| target.is_none()),
        target,
        down_for: s.key(
            "down_for",
            &Span(SECOND, DAY),
            default.down_for,
            "How long there has to be too little to do before a node is stopped.",
        ),
        cooldown_out: s.key(
            "cooldown_out",
            &Span(Duration::ZERO, DAY),
            default.cooldown_out,
            "From a start to the next.",
        ),
        cooldown_in: s.key(
            "cooldown_in",
            &Span(Duration::ZERO, DAY),
            default.cooldown_in,
            "From a start or a stop to the next stop.",
        ),
        drain_timeout: s.key(
            "drain_timeout",
            &Span(Duration::ZERO, DAY),
            default.drain_timeout,
            "How long the work of a node that is stopped may take.",
        ),
        verify_timeout: s.key(
            "verify_timeout",
            &Span(SECOND, HOUR),
            default.verify_timeout,
            "How long a node may take from its start until it is up; then it is stopped again.",
        ),
        ..default
    };
    if !s.is_describing() && max_nodes < min_nodes {
        let wrong = format!("it is less than min_nodes, which is {min_nodes}");
        let fault = Fault::new(s.origin_of("max_nodes"), s.path_of("max_nodes"), wrong).found(max_nodes.to_string());
        s.reader().fault(fault);
    }
    driver.map(|_| scaling)
}

fn band(s: &mut Section<'_, '_, '_>, default: Band, over: &OverScaling) -> Band {
    let up = s.key_overridden("up", &MUCH, default.up, "More than that starts a node.", over.up.as_ref());
    let down = s.key_overridden(
        "down",
        &LITTLE,
        default.down,
        "Less than that, for `down_for`, stops one.",
        over.down.as_ref(),
    );
    if !s.is_describing() && down >= up {
        let wrong = format!("it is not less than up, which is {up}: nodes would be started and stopped in turn");
        let fault = Fault::new(s.origin_of("down"), s.path_of("down"), wrong).found(down.to_string());
        s.reader().fault(fault);
    }
    Band { up, down }
}
