//! Whether posts and their index rows agree.

use std::collections::{BTreeSet, HashMap};

use kernel::audit::{Finding, Snapshot};
use kernel::table::{Item, TableError};
use kernel::{Post, PostId};

use crate::reports::Report;
use crate::store::reports::{OPEN, OPEN_COUNT, REPORTS};
use crate::{list, model, store};

struct Seen {
    author: String,
    by_author: Option<u32>,
    in_public: Option<u32>,
}

/// How many posts there are.
pub fn count(snapshot: &dyn Snapshot) -> Result<u64, TableError> {
    kernel::audit::count(snapshot, "post#")
}

/// Every disagreement between posts, the authors' index and the public timeline, and between
/// reports and those that are listed as open.
pub fn audit(snapshot: &dyn Snapshot) -> Result<Vec<Finding>, TableError> {
    let mut findings = Vec::new();
    let mut posts: HashMap<PostId, Seen> = HashMap::new();
    for item in snapshot.items("post#") {
        let item = item?;
        let post: Post = item.json()?;
        if item.key != store::post_key(post.post_id) {
            findings.push(finding("a post lies under its id", &item.key.partition, "elsewhere"));
        }
        let author = store::author_partition(post.author_id);
        posts.insert(post.post_id, Seen { author, by_author: None, in_public: None });
    }
    for row in snapshot.items("author#") {
        let row = row?;
        match posts.get_mut(&list::row_id(&row)?) {
            Some(seen) if seen.author == row.key.partition => seen.by_author = Some(row.json()?),
            _ => findings.push(stray(&row)),
        }
    }
    public_rows(snapshot, &mut posts, &mut findings)?;
    open_reports(snapshot, &mut findings)?;
    for (id, seen) in &posts {
        if seen.by_author.is_none() {
            findings.push(finding("a post is in its author's list", id, "missing"));
        }
        if seen.in_public.is_none() || seen.in_public != seen.by_author {
            let detail = format!("in shard {:?}, noted as {:?}", seen.in_public, seen.by_author);
            findings.push(finding("a post is in the public timeline", id, &detail));
        }
    }
    Ok(findings)
}

fn public_rows(
    snapshot: &dyn Snapshot,
    posts: &mut HashMap<PostId, Seen>,
    findings: &mut Vec<Finding>,
) -> Result<(), TableError> {
    let mut days = HashMap::new();
    for day in snapshot.items(store::DAYS) {
        let day = day?;
        days.insert(day.key.sort.clone(), day.json::<u32>()?);
    }
    for row in snapshot.items("public#") {
        let row = row?;
        let id = list::row_id(&row)?;
        let day = store::day_sort(model::day(id));
        let shards = days.get(&day).copied().unwrap_or(0);
        let place = |shard: &u32| store::public_partition(model::day(id), *shard);
        let shard = (0..shards).find(|shard| place(shard) == row.key.partition);
        match (posts.get_mut(&id), shard) {
            (Some(seen), Some(shard)) => seen.in_public = Some(shard),
            _ => findings.push(stray(&row)),
        }
    }
    Ok(())
}

/// The open reports, their rows and their number.
fn open_reports(snapshot: &dyn Snapshot, findings: &mut Vec<Finding>) -> Result<(), TableError> {
    let mut open = BTreeSet::new();
    for item in snapshot.items(REPORTS) {
        let item = item?;
        if item.json::<Report>()?.closed.is_none() {
            open.insert(item.key.sort);
        }
    }
    let rows = snapshot.items(OPEN).map(|row| row.map(|row| row.key.sort));
    let rows = rows.collect::<Result<BTreeSet<_>, _>>()?;
    for id in open.symmetric_difference(&rows) {
        findings.push(finding("open reports are listed", id, "in one of the two only"));
    }
    let count: i64 =
        snapshot.items(OPEN_COUNT).map(|item| Ok(item?.count)).sum::<Result<_, _>>()?;
    if usize::try_from(count) != Ok(rows.len()) {
        let detail = format!("{} rows, counted {count}", rows.len());
        findings.push(finding("open reports are counted", &OPEN_COUNT, &detail));
    }
    Ok(())
}

fn stray(row: &Item) -> Finding {
    let place = format!("{} {}", row.key.partition, row.key.sort);
    finding("an index row leads to a post", &place, "no such post there, or no reader looks there")
}

fn finding(rule: &'static str, place: &impl ToString, detail: &str) -> Finding {
    Finding { rule, place: place.to_string(), detail: detail.to_owned() }
}
