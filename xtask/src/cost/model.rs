//! How much of everything a load uses in a month, and what that costs.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::input::{Input, Load, Measured, Size};

/// A line of the bill.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Line {
    Functions,
    Tables,
    Cache,
    Api,
    Events,
    Watching,
    Sockets,
    Queues,
    Accounts,
    Stored,
    Traces,
    Transfer,
}

impl Line {
    pub(super) const ALL: [Self; 12] = [
        Self::Functions,
        Self::Tables,
        Self::Cache,
        Self::Api,
        Self::Events,
        Self::Watching,
        Self::Sockets,
        Self::Queues,
        Self::Accounts,
        Self::Stored,
        Self::Traces,
        Self::Transfer,
    ];

    /// What it is called, and in the architecture document's table, where it is there.
    pub(super) const fn names(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Functions => ("Lambda", Some("functions")),
            Self::Tables => ("DynamoDB, reads and writes", Some("tables")),
            Self::Cache => ("ElastiCache", Some("cache")),
            Self::Api => ("API Gateway, REST", Some("api")),
            Self::Events => ("EventBridge", Some("events")),
            Self::Watching => ("CloudWatch", Some("watching")),
            Self::Sockets => ("API Gateway, WebSocket", None),
            Self::Queues => ("SQS", None),
            Self::Accounts => ("Cognito", None),
            Self::Stored => ("DynamoDB, storage and recovery", None),
            Self::Traces => ("X-Ray", None),
            Self::Transfer => ("Data transfer", None),
        }
    }
}

/// Some units of one price on a line of the bill.
pub(super) struct Used {
    pub(super) line: Line,
    pub(super) what: &'static str,
    pub(super) price: String,
    pub(super) units: f64,
}

/// What is used in a month by a multiple of the load's people.
pub(super) fn used(input: &Input, times: f64) -> Result<Vec<Used>> {
    let Input { load, measured, alarm_metrics, .. } = input;
    let people_days = load.people * times * load.days;
    let counted = Counted::of(load, measured, people_days)?;
    let sockets = OfSockets::of(load, people_days, counted.posts);
    let mut all = Usage::default();
    let invocations = all.functions(load, &counted, &sockets);
    all.add(Line::Tables, "write units", "table_write", counted.writes);
    all.add(Line::Tables, "read units", "table_read", counted.reads);
    let cache = load.cache.iter().find(|cache| cache.times >= times);
    let cache = cache.with_context(|| format!("no cache for {times} times the people"))?;
    all.add(Line::Cache, "hours of nodes", &cache.node, cache.nodes * HOURS);
    let zones_gb = counted.timelines * load.stored.cached_kb / 2.0 / 1e6;
    all.add(Line::Cache, "GB between zones", "zone_gb", zones_gb);
    all.add(Line::Api, "requests", "rest_request", counted.calls);
    all.add(Line::Events, "events", "event", counted.events);
    let archived_gb = counted.events * load.stored.event_kb / 1e6;
    all.add(Line::Events, "GB archived", "event_archive_gb", archived_gb);
    all.watching(load, &counted, &sockets, invocations);
    all.add(Line::Watching, "metrics in alarms", "alarm_metric", *alarm_metrics);
    all.add(Line::Sockets, "messages", "socket_message", sockets.messages);
    let minutes = people_days * load.sockets.minutes_a_day;
    all.add(Line::Sockets, "minutes of connections", "socket_minute", minutes);
    let queues = &load.queues;
    let polls = queues.count * queues.pollers * load.days * 86_400.0 / queues.poll_secs;
    all.add(Line::Queues, "requests for messages", "queue_request", counted.messages * 3.0);
    all.add(Line::Queues, "requests that find nothing", "queue_request", polls);
    let monthly = load.people * times * load.monthly;
    all.add(Line::Accounts, "monthly active users", "active_user", monthly);
    all.stored(load, &counted, monthly);
    let traces = counted.calls + counted.messages + sockets.events;
    all.add(Line::Traces, "traces", "trace", traces * load.watching.traced_share);
    let out_gb = (counted.answers_kb + sockets.messages * load.sockets.frame_kb) / 1e6;
    all.add(Line::Transfer, "GB to the internet", "transfer_gb", out_gb);
    Ok(all.0)
}

/// Hours of a month.
const HOURS: f64 = 730.0;

/// What is used, as it is put together.
#[derive(Default)]
struct Usage(Vec<Used>);

impl Usage {
    fn add(&mut self, line: Line, what: &'static str, price: &str, units: f64) {
        self.0.push(Used { line, what, price: price.to_owned(), units });
    }

    /// Adds the functions; how often they are invoked.
    fn functions(&mut self, load: &Load, counted: &Counted, sockets: &OfSockets) -> f64 {
        let functions = &load.functions;
        let asked = counted.asked + sockets.asked;
        let invocations = [
            (&functions.api, counted.calls - counted.timelines),
            (&functions.timeline, counted.timelines),
            (&functions.asked, asked),
            (&functions.relay, counted.events),
            (&functions.react, counted.messages),
            (&functions.sockets, sockets.events),
        ];
        let count: f64 = invocations.iter().map(|(_, count)| count).sum();
        let lasts = |size: &Size| size.ms + functions.new_share * functions.new_ms;
        let working = invocations.iter().map(|(size, count)| count * size.gb * lasts(size));
        // Who asks is billed while it waits.
        let askers = counted.asked * functions.api.gb + sockets.asked * functions.sockets.gb;
        let waiting = askers * (lasts(&functions.asked) + functions.way_ms);
        let gb_seconds = (working.sum::<f64>() + waiting) / 1000.0;
        self.add(Line::Functions, "invocations", "function_request", count);
        self.add(Line::Functions, "GB-seconds", "function_gb_second", gb_seconds);
        count
    }

    fn watching(&mut self, load: &Load, counted: &Counted, sockets: &OfSockets, invocations: f64) {
        let watching = &load.watching;
        let requests = counted.calls + counted.asked + sockets.asked;
        let log_gb = (invocations * watching.platform_bytes
            + requests * watching.request_bytes
            + (counted.messages + sockets.events) * watching.metrics_bytes
            + (counted.calls + sockets.events) * watching.access_bytes)
            / 1e9;
        self.add(Line::Watching, "GB of logs", "log_gb", log_gb);
        let kept_gb = log_gb * watching.kept_months;
        self.add(Line::Watching, "GB of logs kept", "log_kept_gb", kept_gb);
        self.add(Line::Watching, "metrics of ours", "metric", watching.metrics);
        self.add(Line::Watching, "dashboards", "dashboard", watching.dashboards);
    }

    fn stored(&mut self, load: &Load, counted: &Counted, monthly: f64) {
        let stored = &load.stored;
        let months = stored.years * 365.0 / load.days;
        let gb = (counted.posts * months * stored.post_kb
            + counted.likes * months * stored.like_kb
            + monthly * stored.feed_rows * stored.feed_kb)
            / 1e6;
        self.add(Line::Stored, "GB stored", "table_gb", gb);
        self.add(Line::Stored, "GB recoverable", "table_backup_gb", gb);
    }
}

/// What open sockets come to.
struct OfSockets {
    /// What goes over them, both ways.
    messages: f64,
    /// What functions are told of them.
    events: f64,
    /// What their functions ask others.
    asked: f64,
}

impl OfSockets {
    fn of(load: &Load, people_days: f64, posts: f64) -> Self {
        let sockets = &load.sockets;
        let pings = people_days * sockets.minutes_a_day / sockets.ping_minutes;
        let opened = people_days * sockets.opened_a_day;
        let frames = posts * (load.followers + 1.0) * sockets.open_share;
        Self {
            // Opening: a message, its answer and the hello.
            messages: frames + opened * 3.0 + pings * 2.0,
            // Whether it may, that it has, the first message, and its end.
            events: opened * 4.0 + pings,
            asked: opened * sockets.asked_opened + pings * sockets.asked_ping,
        }
    }
}

/// What people's calls come to.
#[derive(Default)]
struct Counted {
    calls: f64,
    timelines: f64,
    posts: f64,
    likes: f64,
    reads: f64,
    writes: f64,
    /// What functions ask others on the way.
    asked: f64,
    events: f64,
    messages: f64,
    answers_kb: f64,
}

impl Counted {
    fn of(load: &Load, measured: &Measured, people_days: f64) -> Result<Self> {
        let mut sum = Self::default();
        for call in &load.calls {
            let count = call.a_day * people_days;
            let row = |rows: &BTreeMap<String, Vec<f64>>, name: &str| {
                rows.get(name).cloned().with_context(|| format!("nothing is measured for {name}"))
            };
            let (units, motion) =
                (row(&measured.units, &call.units)?, row(&measured.motion, &call.motion)?);
            sum.calls += count;
            sum.reads += count * (units[0] + call.more_reads);
            sum.writes += count * units[1];
            // The first question of a call is whether the session is open.
            let asked = motion[0] - motion[0].min(1.0) * (1.0 - load.sessions_asked);
            sum.asked += count * asked;
            sum.events += count * motion[1];
            sum.messages += count * motion[2];
            sum.answers_kb += count * call.answer_kb;
            if call.units.contains("GET /timeline") {
                sum.timelines += count;
            } else {
                sum.reads += count * load.limiter.reads;
                sum.writes += count * load.limiter.writes;
            }
            if call.is_a_post() {
                let each = row(&measured.units, "fan-out, each follower")?;
                sum.posts += count;
                sum.reads += count * load.followers * each[0];
                sum.writes += count * load.followers * each[1];
            }
            if call.units.contains("/likes") {
                sum.likes += count;
            }
        }
        Ok(sum)
    }
}

/// What each line costs, without and with what is free.
pub(super) fn bill(input: &Input, times: f64) -> Result<BTreeMap<Line, (f64, f64)>> {
    // What is free is free once, however many lines use it.
    let mut units: BTreeMap<String, f64> = BTreeMap::new();
    let all = used(input, times)?;
    for one in &all {
        *units.entry(one.price.clone()).or_default() += one.units;
    }
    let mut bill: BTreeMap<Line, (f64, f64)> = BTreeMap::new();
    for Used { line, price, units: own, .. } in all {
        let of = input.prices.prices.get(&price).with_context(|| format!("no price: {price}"))?;
        let sum = units[&price];
        let share = if sum > 0.0 { own / sum } else { 0.0 };
        let entry = bill.entry(line).or_default();
        entry.0 += of.of(sum) * share;
        entry.1 += of.beyond_free(sum) * share;
    }
    Ok(bill)
}

/// What all lines cost, without and with what is free.
pub(super) fn total(bill: &BTreeMap<Line, (f64, f64)>) -> (f64, f64) {
    bill.values().fold((0.0, 0.0), |sum, line| (sum.0 + line.0, sum.1 + line.1))
}
