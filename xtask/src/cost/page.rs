//! The model as a part of docs/cost.md.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;

use super::input::Input;
use super::model::{Line, Used, bill, total, used};

/// US dollars a month, at most, for the load of the architecture document.
const GOAL: f64 = 56.0;
/// And where it is to go.
const FAR_GOAL: f64 = 20.0;
/// Characters of a line of text.
const LINE_CHARS_MAX: usize = 120;
/// Multiples of the load.
const TIMES: [f64; 4] = [1.0, 10.0, 100.0, 1_000.0];
/// The node that the architecture document names for prod, and `infra/network.yaml` with it.
const NAMED_NODE: &str = "cache.r6g.large";
/// Metrics in the alarms that R8.3 asks for: errors, latency, dead letters, disconnects.
const ASKED_ALARM_METRICS: f64 = 16.0;

type Bill = BTreeMap<Line, (f64, f64)>;

/// Something that can be changed.
struct Lever {
    what: &'static str,
    but: &'static str,
    change: fn(&mut Input),
}

/// In the order in which they are pulled on the way to the far goal.
const LEVERS: [Lever; 9] = [
    Lever {
        what: "one node of the cache",
        but: "no fail-over: while it is away timelines come from the tables and frames wait",
        change: |input| input.load.cache.iter_mut().for_each(|cache| cache.nodes /= 2.0),
    },
    Lever {
        what: "Valkey in place of Redis OSS",
        but: "the same protocol; not tried on the test bed",
        change: |input| {
            let nodes = |name: &str| name.starts_with("cache.");
            let prices = input.prices.prices.iter_mut().filter(|(name, _)| nodes(name));
            prices.for_each(|(_, price)| price.usd *= 0.8);
        },
    },
    Lever {
        what: "alarms for R8.3 alone",
        but: "nobody is told of throttles, lag and a full cache before people feel them",
        change: |input| input.alarm_metrics = input.alarm_metrics.min(ASKED_ALARM_METRICS),
    },
    Lever {
        what: "no lines for requests that went well, no access logs",
        but: "who did what cannot be looked up",
        change: |input| {
            input.load.watching.request_bytes = 0.0;
            input.load.watching.access_bytes = 0.0;
        },
    },
    Lever {
        what: "Cognito's tier Lite",
        but: "what the tier Essentials adds to a pool",
        change: |input| {
            let lite = input.prices.prices.get("active_user_lite").cloned();
            let price = lite.map(|lite| ("active_user".to_owned(), lite));
            input.prices.prices.extend(price);
        },
    },
    Lever {
        what: "half the memory of functions",
        but: "half the processor: slower starts and answers",
        change: |input| {
            let functions = &mut input.load.functions;
            for size in [
                &mut functions.api,
                &mut functions.timeline,
                &mut functions.asked,
                &mut functions.react,
                &mut functions.relay,
                &mut functions.sockets,
            ] {
                size.gb /= 2.0;
            }
        },
    },
    Lever {
        what: "ask for sessions once in 30 s, not at each call",
        but: "a session that ended goes on for up to 30 s; the contract says at once",
        change: |input| input.load.sessions_asked = 0.1,
    },
    Lever {
        what: "an HTTP API in place of the REST API",
        but: "no validation by the OpenAPI document and no WAF, which R2.5 and R5.4 ask for",
        change: |input| {
            let cheaper = input.prices.prices.get("http_request").cloned();
            let price = cheaper.map(|cheaper| ("rest_request".to_owned(), cheaper));
            input.prices.prices.extend(price);
        },
    },
    Lever {
        what: "no cache",
        but: "a registry of sockets in a table is to be written; R2.8 asks for Redis",
        change: |input| {
            input.load.cache.iter_mut().for_each(|cache| cache.nodes = 0.0);
            // Each fan-out then looks for its followers' sockets in the table.
            let followers = input.load.followers;
            let posts = input.load.calls.iter_mut().filter(|call| call.is_a_post());
            posts.for_each(|call| call.more_reads += followers);
        },
    },
];

/// The model.
pub(super) fn model(input: &Input) -> Result<String> {
    let mut page = String::new();
    let one = bill(input, 1.0)?;
    let calls: f64 = input.load.calls.iter().map(|call| call.a_day).sum();
    let calls = calls * input.load.people * input.load.days;
    let intro = format!(
        "US dollars a month in {}, for {} active people who make {} calls a month, five posts a \
         day each among them. Prices were looked up on {} and are as old as their source says \
         ([`infra/prices.toml`](../infra/prices.toml)); what people do is assumed \
         ([`infra/load.toml`](../infra/load.toml)). *Billed* leaves out what every account has \
         for nothing, for ever; what new accounts have for a while is not counted anywhere.",
        input.prices.region,
        amount(input.load.people),
        amount(calls),
        input.prices.looked_up,
    );
    paragraph(&mut page, &intro);
    against_seed(&mut page, input, &one)?;
    goal(&mut page, input, &one)?;
    loads(&mut page, input)?;
    levers(&mut page, input)?;
    units(&mut page, input)?;
    prices(&mut page, input)?;
    Ok(page)
}

fn against_seed(page: &mut String, input: &Input, one: &Bill) -> Result<()> {
    writeln!(page, "### Line by line against the architecture document\n")?;
    writeln!(page, "| | the document | list price | billed |\n|---|---|---|---|")?;
    let known = |line: &Line| line.names().1.is_some();
    let seed = |line: Line| line.names().1.and_then(|name| input.load.seed.get(name)).copied();
    let mut write = |name: &str, seed: Option<f64>, (list, billed): (f64, f64)| {
        let seed = seed.map_or(String::new(), |usd| format!("{usd:.0}"));
        writeln!(page, "| {name} | {seed} | {list:.2} | {billed:.2} |")
    };
    let cost = |line: Line| one.get(&line).copied().unwrap_or_default();
    for line in Line::ALL.into_iter().filter(known) {
        write(line.names().0, seed(line), cost(line))?;
    }
    let part: Bill = one.iter().filter(|(line, _)| known(line)).map(|(l, c)| (*l, *c)).collect();
    write("**what the document counts**", Some(input.load.seed.values().sum()), total(&part))?;
    for line in Line::ALL.into_iter().filter(|line| !known(line)) {
        write(line.names().0, None, cost(line))?;
    }
    write("**everything**", None, total(one))?;
    writeln!(page)?;
    Ok(())
}

fn goal(page: &mut String, input: &Input, one: &Bill) -> Result<()> {
    let (list, billed) = total(one);
    let verdict = |usd: f64| if usd <= GOAL { "met" } else { "**missed**" };
    let cache = &input.load.cache[0];
    let mut named = input.clone();
    named.load.cache[0].node = NAMED_NODE.to_owned();
    let named = total(&bill(&named, 1.0)?).1;
    let text = format!(
        "The goal is at most ${GOAL:.0} with everything counted: {} with what is billed \
         (${billed:.2}), {} at list prices (${list:.2}). This is with {:.0} nodes `{}`, which hold \
         this load many times. The document's section 10 counts one small node; its section 2 \
         names `{NAMED_NODE}` for prod, and `infra/network.yaml` takes that, for ${named:.2} in \
         all: set `RedisNodeType` there to stay near the goal.",
        verdict(billed),
        verdict(list),
        cache.nodes,
        cache.node,
    );
    paragraph(page, &text);
    let [first, ..] = &LEVERS;
    let mut changed = input.clone();
    (first.change)(&mut changed);
    let after = total(&bill(&changed, 1.0)?).1;
    let mut unread = input.clone();
    unread.load.followers = 0.0;
    let tables = |bill: &Bill| bill.get(&Line::Tables).map_or(0.0, |cost| cost.1);
    let fan_out = tables(one) - tables(&bill(&unread, 1.0)?);
    let text = format!(
        "The first lever is {}: ${after:.2}, {}. Not counted: a firewall (WAF, off unless \
         asked for), releases, and cents such as notes of alarms. Each timeline is counted as if \
         nobody had read one there before, in the cache and in the function. Of what the tables \
         cost, ${fan_out:.2} is the fan-out to {:.0} followers of each post.",
        first.what,
        verdict(after),
        input.load.followers,
    );
    paragraph(page, &text);
    Ok(())
}

fn loads(page: &mut String, input: &Input) -> Result<()> {
    let bills = TIMES.map(|times| bill(input, times)).into_iter().collect::<Result<Vec<_>>>()?;
    writeln!(page, "### Ten, a hundred, a thousand times as many people\n")?;
    write!(page, "| billed |")?;
    for times in TIMES {
        write!(page, " {} people |", amount(times * input.load.people))?;
    }
    writeln!(page, "\n|---|{}", "---|".repeat(TIMES.len()))?;
    for line in Line::ALL {
        write!(page, "| {} |", line.names().0)?;
        for bill in &bills {
            write!(page, " {} |", amount(bill.get(&line).map_or(0.0, |cost| cost.1)))?;
        }
        writeln!(page)?;
    }
    write!(page, "| **everything** |")?;
    for bill in &bills {
        write!(page, " {} |", amount(total(bill).1))?;
    }
    write!(page, "\n| a person |")?;
    for (times, bill) in TIMES.iter().zip(&bills) {
        write!(page, " {:.4} |", total(bill).1 / (times * input.load.people))?;
    }
    writeln!(page, "\n\nWhat dominates:\n")?;
    for (times, bill) in TIMES.iter().zip(&bills) {
        let mut lines: Vec<_> = bill.iter().collect();
        lines.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
        let share = |cost: f64| 100.0 * cost / total(bill).1;
        let lines = lines.iter().take(3);
        let largest: Vec<_> = lines
            .map(|(line, cost)| format!("{} {:.0} %", line.names().0, share(cost.1)))
            .collect();
        let people = amount(times * input.load.people);
        writeln!(page, "- {people} people: {}", largest.join("; "))?;
    }
    writeln!(page)?;
    Ok(())
}

fn levers(page: &mut String, input: &Input) -> Result<()> {
    writeln!(page, "### Which lever moves it\n")?;
    writeln!(page, "Each alone, and what it costs otherwise. Negative figures would cost more.\n")?;
    writeln!(page, "| lever | saves now | at a hundred times | but |\n|---|---|---|---|")?;
    for Lever { what, but, change } in &LEVERS {
        let mut changed = input.clone();
        change(&mut changed);
        let saves = |times: f64| -> Result<f64> {
            Ok(total(&bill(input, times)?).1 - total(&bill(&changed, times)?).1)
        };
        let (now, later) = (saves(1.0)?, saves(100.0)?);
        writeln!(page, "| {what} | {} | {} | {but} |", amount(now), amount(later))?;
    }
    writeln!(page, "\nOn the way to ${FAR_GOAL:.0}, one after the other:\n")?;
    let mut changed = input.clone();
    let mut billed = total(&bill(&changed, 1.0)?).1;
    writeln!(page, "- as it is: ${billed:.2}")?;
    for Lever { what, change, .. } in &LEVERS {
        change(&mut changed);
        let after = total(&bill(&changed, 1.0)?).1;
        if billed - after < 0.05 {
            continue;
        }
        billed = after;
        writeln!(page, "- and {what}: ${billed:.2}")?;
        if billed <= FAR_GOAL {
            break;
        }
    }
    let largest = bill(&changed, 1.0)?;
    let largest = largest.iter().max_by(|a, b| a.1.1.total_cmp(&b.1.1));
    let (line, cost) = largest.map_or(("nothing", 0.0), |(line, cost)| (line.names().0, cost.1));
    let reached = if billed > FAR_GOAL { "is **not reached** so" } else { "is reached so" };
    let mut text = format!("${FAR_GOAL:.0} {reached}. The largest line is then {line}, ${cost:.2}");
    let all = input.load.followers;
    let mut followers = all;
    while billed > FAR_GOAL && followers > 0.0 {
        followers -= 1.0;
        changed.load.followers = followers;
        billed = total(&bill(&changed, 1.0)?).1;
    }
    if followers < all && billed <= FAR_GOAL {
        text += &format!(
            "; with {followers:.0} followers a person in place of {all:.0}, or posts of whoever \
             has more merged at reading, it would be ${billed:.2}"
        );
    }
    writeln!(page)?;
    paragraph(page, &format!("{text}."));
    Ok(())
}

fn units(page: &mut String, input: &Input) -> Result<()> {
    writeln!(page, "### What it is made of\n")?;
    writeln!(page, "| line | units a month | | price |\n|---|---|---|---|")?;
    for Used { line, what, price, units } in used(input, 1.0)? {
        writeln!(page, "| {} | {} | {what} | `{price}` |", line.names().0, amount(units))?;
    }
    writeln!(page)?;
    Ok(())
}

fn prices(page: &mut String, input: &Input) -> Result<()> {
    writeln!(page, "### Prices\n")?;
    writeln!(page, "| price | US dollars | for | free | source | its date |")?;
    writeln!(page, "|---|---|---|---|---|---|")?;
    for (name, price) in &input.prices.prices {
        let free = if price.free > 0.0 { amount(price.free) } else { String::new() };
        writeln!(
            page,
            "| `{name}` | {} | {} | {free} | <{}> | {} |",
            price.usd,
            amount(price.per),
            price.source,
            price.as_of
        )?;
    }
    Ok(())
}

/// Writes text in lines that are not too long.
fn paragraph(page: &mut String, text: &str) {
    let mut used = 0;
    for word in text.split(' ') {
        let chars = word.chars().count();
        if used > 0 && used + 1 + chars > LINE_CHARS_MAX {
            page.push('\n');
            used = 0;
        } else if used > 0 {
            page.push(' ');
            used += 1;
        }
        page.push_str(word);
        used += chars;
    }
    page.push_str("\n\n");
}

/// A number for people: two digits behind the point while it is small, thousands set apart.
fn amount(number: f64) -> String {
    let digits = if number.abs() < 1_000.0 && number.fract() != 0.0 { 2 } else { 0 };
    let text = format!("{:.digits$}", number.abs());
    let whole = text.split('.').next().unwrap_or_default().len();
    let mut set = String::new();
    for (index, digit) in text.chars().enumerate() {
        if index > 0 && index < whole && (whole - index).is_multiple_of(3) {
            set.push(',');
        }
        set.push(digit);
    }
    let is_negative =
        number < 0.0 && text.chars().any(|digit| digit.is_ascii_digit() && digit != '0');
    if is_negative { format!("-{set}") } else { set }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_broken_between_words() {
        let mut page = String::new();
        paragraph(&mut page, "word ".repeat(60).trim_end());
        let lines: Vec<_> = page.trim_end().lines().map(|line| line.chars().count()).collect();
        assert_eq!(lines, [119, 119, 59]);
    }

    #[test]
    fn thousands_are_set_apart() {
        let all = [0.0, 0.499, 12.0, 999.99, 1_234.5, 1_000_000.0, -1_500.0, -0.001].map(amount);
        assert_eq!(all, ["0", "0.50", "12", "999.99", "1,234", "1,000,000", "-1,500", "0.00"]);
    }
}
