//! Whether feeds are what they should be: checked against follows, tombstones and the posts that
//! exist.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use kernel::audit::{Finding, Snapshot};
use kernel::peers::{Peers, Regard};
use kernel::table::{Item, TableError};
use kernel::{PostId, Problem, UserId};

use crate::model::{Edge, Row};
use crate::store;

const IDS_MAX: usize = 100;
const USERS_MAX: usize = 1000;
/// Of each author this many newest posts must be in every follower's feed.
const NEWEST: usize = 20;

type Edges = BTreeMap<(UserId, UserId), Edge>;

/// Everybody of whom the timeline holds anything: whom a repair rebuilds.
pub fn users(snapshot: &dyn Snapshot) -> Result<BTreeSet<UserId>, TableError> {
    let mut users = BTreeSet::new();
    for prefix in ["feed#", "following#", "follower#"] {
        for item in snapshot.items(prefix) {
            let item = item?;
            users.insert(partition_id(&item, prefix)?);
        }
    }
    Ok(users)
}

/// Checks the whole of the timeline's data. What events still on their way would change is found
/// too, so queues should be empty.
pub async fn audit(snapshot: &dyn Snapshot, peers: &dyn Peers) -> Result<Vec<Finding>, Problem> {
    let mut findings = Vec::new();
    let edges = edges(snapshot, &mut findings)?;
    let mut followed: BTreeMap<UserId, BTreeSet<UserId>> = BTreeMap::new();
    for user in users(snapshot)? {
        followed.insert(user, BTreeSet::new());
    }
    for ((user, author), _) in edges.iter().filter(|(_, edge)| edge.on) {
        followed.entry(*user).or_default().insert(*author);
    }
    let mut feeds = Feeds::read(snapshot)?;
    for (user, authors) in &followed {
        let told = follows(peers, *user).await?;
        for author in told.symmetric_difference(authors) {
            let place = format!("following#{user} {author}");
            let detail = format!("social service says {}", told.contains(author));
            findings.push(Finding { rule: "projection equals follows", place, detail });
        }
        check_mutes(*user, authors, &edges, peers, &mut findings).await?;
        let rows = feeds.take(snapshot, *user)?;
        feeds.check_rows(*user, &rows, authors, peers, &mut findings).await?;
        feeds.check_complete(*user, &rows, authors, peers, &mut findings).await?;
    }
    Ok(findings)
}

/// Whom a person mutes, of those they follow, must be as the social service says.
async fn check_mutes(
    user: UserId,
    authors: &BTreeSet<UserId>,
    edges: &Edges,
    peers: &dyn Peers,
    findings: &mut Vec<Finding>,
) -> Result<(), Problem> {
    let authors: Vec<UserId> = authors.iter().copied().collect();
    for authors in authors.chunks(IDS_MAX) {
        let regards = peers.viewed(user, &[], authors).await?.regards;
        for (author, regard) in authors.iter().zip(regards) {
            let muted = regard == Regard::Muted;
            if edges.get(&(user, *author)).is_some_and(|edge| edge.muted != muted) {
                let place = format!("following#{user} {author}");
                let detail = format!("social service says {muted}");
                findings.push(Finding { rule: "projection equals mutes", place, detail });
            }
        }
    }
    Ok(())
}

fn partition_id(item: &Item, prefix: &str) -> Result<UserId, TableError> {
    let id = item.key.partition.strip_prefix(prefix).and_then(|id| id.parse().ok());
    id.ok_or_else(|| TableError::Malformed(format!("{:?} names nobody", item.key)))
}

/// Both ends of every edge must agree, and counts with them.
fn edges(snapshot: &dyn Snapshot, findings: &mut Vec<Finding>) -> Result<Edges, TableError> {
    let (mut ours, mut theirs) = (Edges::new(), Edges::new());
    let mut counts: HashMap<UserId, i64> = HashMap::new();
    for item in snapshot.items("following#") {
        let item = item?;
        let pair = (partition_id(&item, "following#")?, store::sort_id(&item.key)?);
        ours.insert(pair, item.json()?);
    }
    for item in snapshot.items("follower#") {
        let item = item?;
        let author = partition_id(&item, "follower#")?;
        let edge: Edge = item.json()?;
        *counts.entry(author).or_default() += i64::from(edge.on);
        theirs.insert((store::sort_id(&item.key)?, author), edge);
    }
    for item in snapshot.items("followers#") {
        let item = item?;
        let counted = counts.remove(&partition_id(&item, "followers#")?).unwrap_or(0);
        if counted != item.count {
            let detail = format!("{} instead of {counted}", item.count);
            let place = item.key.partition;
            findings.push(Finding { rule: "follower count equals followers", place, detail });
        }
    }
    for (author, count) in counts.into_iter().filter(|(_, count)| *count != 0) {
        let (place, detail) = (author.prefixed("followers#"), format!("absent, not {count}"));
        findings.push(Finding { rule: "follower count equals followers", place, detail });
    }
    let pairs: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for pair @ (user, author) in pairs {
        if ours.get(pair) != theirs.get(pair) {
            let place = format!("following#{user} {author}");
            let detail = format!("{:?} and {:?}", ours.get(pair), theirs.get(pair));
            findings.push(Finding { rule: "both ends of a follow agree", place, detail });
        }
    }
    Ok(ours)
}

async fn follows(peers: &dyn Peers, user: UserId) -> Result<BTreeSet<UserId>, Problem> {
    let (mut all, mut after) = (BTreeSet::new(), None);
    loop {
        let page = peers.following(user, after, USERS_MAX).await?;
        all.extend(page.users);
        let Some(next) = page.next else { return Ok(all) };
        after = Some(next);
    }
}

/// What is known of all feeds together.
struct Feeds {
    marks: HashMap<UserId, PostId>,
    gone: HashSet<String>,
    left: HashSet<UserId>,
    merged: HashSet<PostId>,
    newest: HashMap<UserId, Vec<PostId>>,
}

impl Feeds {
    fn read(snapshot: &dyn Snapshot) -> Result<Self, TableError> {
        let mut marks = HashMap::new();
        for item in snapshot.items("mark#") {
            let item = item?;
            marks.insert(partition_id(&item, "mark#")?, item.json()?);
        }
        let gone = snapshot.items("gone#").map(|item| Ok(item?.key.partition));
        let gone = gone.collect::<Result<_, TableError>>()?;
        let left = snapshot.items("left#").map(|item| partition_id(&item?, "left#"));
        let left = left.collect::<Result<_, TableError>>()?;
        let merged = snapshot.items("author#").map(|item| Ok(store::row(&item?)?.post_id));
        let merged = merged.collect::<Result<_, TableError>>()?;
        Ok(Self { marks, gone, left, merged, newest: HashMap::new() })
    }

    /// The live rows of one feed.
    fn take(&mut self, snapshot: &dyn Snapshot, user: UserId) -> Result<Vec<Row>, TableError> {
        let items = snapshot.items(&store::feed(user));
        let rows = items.map(|item| store::row(&item?)).collect::<Result<Vec<_>, _>>()?;
        Ok(rows.into_iter().filter(|row| !row.gone).collect())
    }

    async fn check_rows(
        &self,
        user: UserId,
        rows: &[Row],
        authors: &BTreeSet<UserId>,
        peers: &dyn Peers,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Problem> {
        let mut find = |rule, row: &Row, detail: &str| {
            let place = format!("feed#{user} {}", row.post_id);
            findings.push(Finding { rule, place, detail: detail.to_owned() });
        };
        for chunk in rows.chunks(IDS_MAX) {
            let ids: Vec<_> = chunk.iter().map(|row| row.post_id).collect();
            let exist = peers.posts_exist(&ids).await?;
            for (row, exists) in chunk.iter().zip(exist) {
                if row.author_id != user && !authors.contains(&row.author_id) {
                    find("a feed holds followed authors only", row, "not followed");
                }
                if self.gone.contains(&format!("gone#{}", row.post_id)) {
                    find("a feed holds no deleted post", row, "has a tombstone");
                } else if !exists && !self.is_resting(row.author_id, peers).await? {
                    find("a feed holds no deleted post", row, "does not exist");
                }
            }
        }
        Ok(())
    }

    /// Whether an author is not shown and has not left: suspended, with rows that stay.
    async fn is_resting(&self, author: UserId, peers: &dyn Peers) -> Result<bool, Problem> {
        let profile = peers.profiles(&[author]).await?.pop().flatten();
        Ok(profile.is_none() && !self.left.contains(&author))
    }

    async fn check_complete(
        &mut self,
        user: UserId,
        rows: &[Row],
        authors: &BTreeSet<UserId>,
        peers: &dyn Peers,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Problem> {
        let held: HashSet<PostId> = rows.iter().map(|row| row.post_id).collect();
        let mark = self.marks.get(&user).copied();
        for author in authors.iter().copied().chain([user]) {
            let newest = match self.newest.entry(author) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let posts = peers.newest_posts(author, None, NEWEST).await?;
                    unknown.insert(posts.iter().map(|post| post.post_id).collect())
                }
            };
            let wanted = newest.iter();
            let wanted = wanted.filter(|post| mark.is_none_or(|mark| **post >= mark));
            for post in wanted.filter(|post| !held.contains(post) && !self.merged.contains(post)) {
                let (place, detail) = (user.prefixed("feed#"), format!("{post} is missing"));
                findings.push(Finding { rule: "a feed is complete", place, detail });
            }
        }
        Ok(())
    }
}
