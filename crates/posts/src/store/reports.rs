//! Reports in the table.

use std::time::Duration;

use bytes::Bytes;
use kernel::acts::{self, Order};
use kernel::table::{
    self, Attempt, COMMIT_WRITES_MAX, Condition, Item, Key, Query, TableError, Write, get_one,
};
use kernel::{Code, Problem, Time, UserId};
use ulid::Ulid;

use crate::model::AuthorState;
use crate::reports::{self, Copied, Reason, Report, ReportId, Subject, Verdict};
use crate::{Posts, suspended};

use super::{STATE, items, user_key};

/// The partition of the reports.
pub(crate) const REPORTS: &str = "reports";
/// The partition of the rows that say which reports are open.
pub(crate) const OPEN: &str = "open-reports";
/// The partition of their number.
pub(crate) const OPEN_COUNT: &str = "count-of-open-reports";
/// What the sort keys of a reporter's rows begin with.
const RECEIPT_PREFIX: &str = "report#";
/// Reports that are closed at once, at most.
const CLOSED_MAX: usize = 1000;
/// How long a closed report is kept.
const CLOSED_KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// What somebody reports.
pub(crate) struct Claim {
    pub(crate) reporter: UserId,
    pub(crate) subject: Subject,
    pub(crate) reason: Reason,
    pub(crate) text: Option<String>,
}

pub(crate) fn open_count() -> Key {
    Key::new(OPEN_COUNT, "")
}

fn report_key(id: ReportId) -> Key {
    Key::new(REPORTS, id.to_string())
}

fn open_key(id: ReportId) -> Key {
    Key::new(OPEN, id.to_string())
}

fn receipt_key(reporter: UserId, subject: Subject) -> Key {
    user_key(reporter, format!("{RECEIPT_PREFIX}{}", subject.text()))
}

/// Leads from a reporter to a closed report of theirs, once they have reported the same anew.
fn past_receipt_key(reporter: UserId, id: ReportId) -> Key {
    user_key(reporter, format!("{RECEIPT_PREFIX}closed#{id}"))
}

/// Keeps a report, or finds the open one that its reporter made of the same before; true when it is
/// new.
pub(crate) async fn create(posts: &Posts, claim: Claim) -> Result<(Report, bool), Problem> {
    table::retry(|| attempt(posts, &claim)).await
}

async fn attempt(posts: &Posts, claim: &Claim) -> Result<(Report, bool), Attempt> {
    let reporter = claim.reporter;
    let receipt_key = receipt_key(reporter, claim.subject);
    let (state_key, standing_key) = (user_key(reporter, STATE), suspended::key(reporter));
    let keys = [state_key.clone(), standing_key.clone(), receipt_key.clone()];
    let found = posts.table.get(&keys).await?;
    let [state_item, standing, receipt] = &found[..] else { return Err(Attempt::Again) };
    if standing.as_ref().map(suspended::is_suspended).transpose()?.unwrap_or(false) {
        return Err(Problem::new(Code::AccountSuspended, "It cannot report.").into());
    }
    let state: AuthorState = state_item.as_ref().map(Item::json).transpose()?.unwrap_or_default();
    state.check_there()?;
    let mut past = None;
    if let Some(receipt) = receipt
        && let Some(item) = get_one(&*posts.table, report_key(receipt.json()?)).await?
    {
        let before: Report = item.json()?;
        if before.closed.is_none() {
            return Ok((before, false));
        }
        let id = before.report_id;
        past = Some(as_long(Write::put_json(past_receipt_key(reporter, id), &id), &item));
    }
    let subject = copy(posts, claim.subject).await?;
    reports::check_other(reporter, &subject)?;
    let now = posts.clock.now();
    let state = state.admit_report(now, posts.config.reports_per_day)?;
    let report = Report {
        report_id: posts.ids.ulid(),
        created_at: now,
        reporter_id: Some(reporter),
        reason: claim.reason,
        text: claim.text.clone(),
        subject,
        closed: None,
    };
    let id = report.report_id;
    let mut writes = vec![
        Write::put_json(state_key, &state).when(Condition::unchanged(state_item.as_ref())),
        Write::check(standing_key, Condition::unchanged(standing.as_ref())),
        Write::put_json(receipt_key, &id).when(Condition::unchanged(receipt.as_ref())),
        Write::put_json(report_key(id), &report).when(Condition::Absent),
        Write::put(open_key(id), Bytes::new()),
        Write::add(open_count(), 1),
    ];
    writes.extend(past);
    posts.table.commit(writes).await?;
    Ok((report, true))
}

/// The same write, of a row that goes when `item` does.
fn as_long(put: Write, item: &Item) -> Write {
    match item.expires_at {
        Some(at) => put.expiring(at),
        None => put,
    }
}

/// What is reported, as it is now.
async fn copy(posts: &Posts, subject: Subject) -> Result<Copied, Problem> {
    match subject {
        Subject::Post(id) => {
            let found = items(posts, &[id]).await?.pop().flatten();
            let found = found.ok_or_else(|| Problem::not_found("post"))?;
            Ok(Copied::Post(found.json()?))
        }
        Subject::User(id) => {
            let found = posts.peers.profiles(&[id]).await?.pop().flatten();
            Ok(Copied::User(found.ok_or_else(|| Problem::not_found("user"))?))
        }
    }
}

async fn found(posts: &Posts, id: ReportId) -> Result<Item, Problem> {
    let item = get_one(&*posts.table, report_key(id)).await?;
    item.ok_or_else(|| Problem::not_found("report"))
}

/// One report.
pub(crate) async fn one(posts: &Posts, id: ReportId) -> Result<Report, Problem> {
    Ok(found(posts, id).await?.json()?)
}

/// Open reports, the oldest first, after `after`.
pub(crate) async fn open(
    posts: &Posts,
    after: Option<ReportId>,
    limit: usize,
) -> Result<Vec<Report>, Problem> {
    let query = Query::all(OPEN, limit);
    let query = match after {
        Some(after) => query.above(after.to_string()),
        None => query,
    };
    let rows = posts.table.query(query).await?.items;
    let keys: Vec<Key> = rows.into_iter().map(|row| Key::new(REPORTS, row.key.sort)).collect();
    let mut reports = Vec::with_capacity(keys.len());
    for keys in keys.chunks(table::GET_KEYS_MAX) {
        for item in posts.table.get(keys).await?.into_iter().flatten() {
            reports.push(item.json()?);
        }
    }
    Ok(reports)
}

/// Reports of either state, the newest first, before `before`.
pub(crate) async fn all(
    posts: &Posts,
    before: Option<ReportId>,
    limit: usize,
) -> Result<Vec<Report>, Problem> {
    let query = Query::all(REPORTS, limit).descending();
    let query = match before {
        Some(before) => query.below(before.to_string()),
        None => query,
    };
    let items = posts.table.query(query).await?.items;
    Ok(items.iter().map(Item::json).collect::<Result<_, _>>()?)
}

/// How many reports are open, and since when the oldest is.
pub(crate) async fn waiting(posts: &Posts) -> Result<(i64, Option<Time>), TableError> {
    let count = get_one(&*posts.table, open_count()).await?.map_or(0, |item| item.count);
    let oldest = posts.table.query(Query::all(OPEN, 1)).await?.items.into_iter().next();
    let oldest = oldest.map(|row| {
        let id: Result<ReportId, _> = row.key.sort.parse();
        let id = id.map_err(|_| TableError::Malformed(format!("{:?} names no report", row.key)))?;
        Ok::<_, TableError>(Time::from_millis(i64::try_from(id.timestamp_ms()).unwrap_or(i64::MAX)))
    });
    Ok((count, oldest.transpose()?))
}

/// Closes a report; answers how it is then, and whether anything changed, or would.
pub(crate) async fn close(
    posts: &Posts,
    id: ReportId,
    verdict: Verdict,
    order: &Order,
) -> Result<(Report, bool), Problem> {
    let act = order.act(&*posts.ids, &*posts.clock, verdict.act(), id.to_string());
    table::retry(|| async {
        let item = found(posts, id).await?;
        let before: Report = item.json()?;
        let Some(after) = before.close(act.at, verdict, order) else { return Ok((before, false)) };
        if order.dry_run {
            return Ok((before, true));
        }
        let expires_at = act.at + CLOSED_KEPT;
        let put = Write::put_json(report_key(id), &after).expiring(expires_at);
        let mut writes = vec![
            put.when(Condition::unchanged(Some(&item))),
            Write::delete(open_key(id)),
            Write::add(open_count(), -1),
            acts::write(&act),
        ];
        if let Some(reporter) = after.reporter_id {
            let receipt = Write::put_json(receipt_key(reporter, subject(&after)), &id);
            writes.push(receipt.expiring(expires_at));
        }
        posts.table.commit(writes).await?;
        Ok((after, true))
    })
    .await
}

/// Closes the open reports about one post or person, of which this is the id; answers those that
/// were closed, or would be.
pub(crate) async fn close_about(
    posts: &Posts,
    about: Ulid,
    verdict: Verdict,
    order: &Order,
) -> Result<Vec<Report>, Problem> {
    let (mut after, mut closed) = (None, Vec::new());
    loop {
        let page = open(posts, after, table::GET_KEYS_MAX).await?;
        let Some(last) = page.last() else { return Ok(closed) };
        after = Some(last.report_id);
        for report in page.iter().filter(|report| report.subject.id() == about) {
            let (report, changed) = close(posts, report.report_id, verdict, order).await?;
            closed.extend(changed.then_some(report));
            if closed.len() == CLOSED_MAX {
                return Ok(closed);
            }
        }
    }
}

fn subject(report: &Report) -> Subject {
    match &report.subject {
        Copied::Post(post) => Subject::Post(post.post_id),
        Copied::User(profile) => Subject::User(profile.user_id),
    }
}

/// The writes that take a deleted user's name out of some of their reports; none when it is in none
/// any more.
pub(crate) async fn forget_reporter(
    posts: &Posts,
    reporter: UserId,
) -> Result<Vec<Write>, TableError> {
    let state = user_key(reporter, "");
    let query = Query::all(state.partition, COMMIT_WRITES_MAX / 2).starting_with(RECEIPT_PREFIX);
    let receipts = posts.table.query(query).await?.items;
    let ids: Vec<ReportId> = receipts.iter().map(Item::json).collect::<Result<_, _>>()?;
    let keys: Vec<Key> = ids.into_iter().map(report_key).collect();
    let mut writes: Vec<Write> = Vec::with_capacity(2 * keys.len());
    if !keys.is_empty() {
        for item in posts.table.get(&keys).await?.into_iter().flatten() {
            let report = Report { reporter_id: None, ..item.json()? };
            let put = Write::put_json(item.key.clone(), &report);
            writes.push(as_long(put.when(Condition::unchanged(Some(&item))), &item));
        }
    }
    writes.extend(receipts.into_iter().map(|row| Write::delete(row.key)));
    Ok(writes)
}
