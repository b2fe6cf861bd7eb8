//! Blocks and mutes: edges, the lists of both ends, and how many are hidden from somebody. A block
//! parts two people: it undoes the follows between them and bars new ones, in its own commit.

use bytes::Bytes;
use kernel::event::{Block, Mute};
use kernel::peers::Regard;
use kernel::sequence::Ticket;
use kernel::table::{
    self, Attempt, Condition, GET_KEYS_MAX, Item, Key, Query, Table, TableError, Write,
};
use kernel::{EventData, Problem, UserId, outbox};
use ulid::Ulid;

use super::{
    both_there, commit, commit_piece, count, edge_of, follows, index, row_id, turned, user_gone,
    user_key,
};
use crate::model::Edge;
use crate::{Social, viewer};

/// Counts who is hidden from a user: whom they mute, and whom a block parts them from.
pub(crate) const HIDDEN: &str = "hidden";
/// Edges of a deleted user removed in one commit: six writes each.
const REMOVE_EDGES: usize = 16;

/// What hides somebody from somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hide {
    /// Each from the other.
    Block,
    /// One from the other.
    Mute,
}

impl Hide {
    /// Both of them.
    pub(crate) const ALL: [Self; 2] = [Self::Block, Self::Mute];

    /// The partition of the edges that begin at `who`.
    fn edges(self, who: UserId) -> String {
        who.prefixed(match self {
            Self::Block => "block#",
            Self::Mute => "mute#",
        })
    }

    pub(crate) fn edge_key(self, who: UserId, whom: UserId) -> Key {
        Key::new(self.edges(who), whom.text())
    }

    /// The partition of those who block or mute `whom`, in the order of their ids.
    fn of(self, whom: UserId) -> String {
        whom.prefixed(match self {
            Self::Block => "blocked-by#",
            Self::Mute => "muted-by#",
        })
    }

    /// The partition of those whom `who` blocks or mutes, by time.
    pub(crate) fn by_time(self, who: UserId) -> String {
        who.prefixed(match self {
            Self::Block => "blocks-by-time#",
            Self::Mute => "mutes-by-time#",
        })
    }

    /// The keys of an edge's index rows: at its end, and in the list by time.
    pub(crate) fn row_keys(self, who: UserId, whom: UserId, at: Ulid) -> [Key; 2] {
        [Key::new(self.of(whom), who.text()), Key::new(self.by_time(who), at.to_string())]
    }

    /// The writes of an edge's index rows: put while it is there, deleted when it is undone.
    fn rows(self, who: UserId, whom: UserId, edge: &Edge) -> [Write; 2] {
        let [of, by_time] = self.row_keys(who, whom, edge.at);
        if edge.on {
            [Write::put(of, Bytes::new()), Write::put(by_time, whom.text())]
        } else {
            [Write::delete(of), Write::delete(by_time)]
        }
    }

    fn told(self, social: &Social, who: UserId, whom: UserId, edge: &Edge) -> Write {
        let version = edge.version;
        let block = || Block { blocker_id: who, blocked_id: whom, version };
        let mute = || Mute { muter_id: who, muted_id: whom, version };
        outbox::write(&social.event(match (self, edge.on) {
            (Self::Block, true) => EventData::BlockCreated(block()),
            (Self::Block, false) => EventData::BlockDeleted(block()),
            (Self::Mute, true) => EventData::MuteCreated(mute()),
            (Self::Mute, false) => EventData::MuteDeleted(mute()),
        }))
    }
}

/// Where it is counted who is hidden from a user.
pub(crate) fn hidden_key(user: UserId) -> Key {
    user_key(user, HIDDEN)
}

/// The writes for one more, or one less, who is hidden from `user`.
fn hidden(user: UserId, delta: i64) -> [Write; 2] {
    [Write::add(hidden_key(user), delta), viewer::changed(user)]
}

/// Whether `who` blocks and mutes `whom`.
pub(crate) async fn state(
    table: &dyn Table,
    who: UserId,
    whom: UserId,
) -> Result<[bool; 2], TableError> {
    let found = table.get(&Hide::ALL.map(|hide| hide.edge_key(who, whom))).await?;
    let on = |index: usize| -> Result<bool, TableError> {
        let edge = edge_of(found.get(index).and_then(Option::as_ref))?;
        Ok(edge.is_some_and(|edge| edge.on))
    };
    Ok([on(0)?, on(1)?])
}

/// How people are to be shown to a viewer from whom somebody is hidden.
pub(crate) async fn regards(
    table: &dyn Table,
    viewer: UserId,
    people: &[UserId],
) -> Result<Vec<Regard>, TableError> {
    let mut each: Vec<UserId> = people.to_vec();
    each.sort_unstable();
    each.dedup();
    let keys = each.iter().flat_map(|person| {
        [follows::edge_key(viewer, *person), Hide::Mute.edge_key(viewer, *person)]
    });
    let keys: Vec<Key> = keys.collect();
    let mut found = Vec::with_capacity(each.len());
    for keys in keys.chunks(GET_KEYS_MAX) {
        for pair in table.get(keys).await?.chunks(2) {
            let edge = |index: usize| edge_of(pair.get(index).and_then(Option::as_ref));
            let barred = edge(0)?.is_some_and(|follow| follow.barred);
            let muted = edge(1)?.is_some_and(|mute| mute.on);
            found.push(match (barred, muted) {
                (true, _) => Regard::Blocked,
                (false, true) => Regard::Muted,
                (false, false) => Regard::Open,
            });
        }
    }
    let regard = |person| each.binary_search(person).ok().and_then(|place| found.get(place));
    Ok(people.iter().map(|person| regard(person).copied().unwrap_or_default()).collect())
}

/// Makes the block or mute, unless it is there.
pub(crate) async fn hide(
    social: &Social,
    hide: Hide,
    who: UserId,
    whom: UserId,
) -> Result<(), Problem> {
    let ticket = social.sequence.take();
    table::retry(|| change(social, hide, who, whom, Some(&ticket))).await
}

/// Undoes the block or mute, if it is there.
pub(crate) async fn show(
    social: &Social,
    hide: Hide,
    who: UserId,
    whom: UserId,
) -> Result<(), Problem> {
    table::retry(|| change(social, hide, who, whom, None)).await
}

async fn change(
    social: &Social,
    hide: Hide,
    who: UserId,
    whom: UserId,
    made: Option<&Ticket>,
) -> Result<(), Attempt> {
    let key = hide.edge_key(who, whom);
    let marks = [user_gone(who), user_gone(whom)];
    let [mark, other_mark] = marks.clone();
    let found = social.table.get(&[key.clone(), mark, other_mark]).await?;
    let [item, caller_gone, other_gone] = &found[..] else { return Err(Attempt::Again) };
    both_there(caller_gone.as_ref(), other_gone.as_ref())?;
    let Some(edge) = turned(edge_of(item.as_ref())?, made) else { return Ok(()) };
    let mut writes = vec![Write::put_json(key, &edge).when(Condition::unchanged(item.as_ref()))];
    writes.extend(hide.rows(who, whom, &edge));
    writes.push(hide.told(social, who, whom, &edge));
    writes.extend(marks.map(|mark| Write::check(mark, Condition::Absent)));
    match hide {
        Hide::Block => writes.extend(part(social, who, whom, edge.on).await?),
        Hide::Mute => writes.extend(hidden(who, if edge.on { 1 } else { -1 })),
    }
    Ok(commit(social, writes, made).await?)
}

/// The writes by which a block parts two people, or its end no longer does. They are parted while
/// one of them blocks the other, so the other's block must stay as it was found.
async fn part(
    social: &Social,
    who: UserId,
    whom: UserId,
    apart: bool,
) -> Result<Vec<Write>, TableError> {
    let ways = [(who, whom), (whom, who)];
    let other = Hide::Block.edge_key(whom, who);
    let [there, back] = ways.map(|(from, to)| follows::edge_key(from, to));
    let found = social.table.get(&[other.clone(), there, back]).await?;
    let item = |place: usize| found.get(place).and_then(Option::as_ref);
    let mut writes = vec![Write::check(other, Condition::unchanged(item(0)))];
    if edge_of(item(0))?.is_some_and(|other| other.on) {
        return Ok(writes);
    }
    for (place, (from, to)) in (1..).zip(ways) {
        writes.extend(follows::bar(social, from, to, item(place), apart)?);
        writes.extend(hidden(from, if apart { 1 } else { -1 }));
    }
    Ok(writes)
}

/// Removes some blocks or mutes by a user who is marked as deleted; true when none is left.
pub(crate) async fn remove_by(social: &Social, hide: Hide, user: UserId) -> Result<bool, Problem> {
    let table = social.table.as_ref();
    let items = table.query(Query::all(hide.edges(user), REMOVE_EDGES)).await?.items;
    let whom = items.iter().map(row_id).collect::<Result<Vec<UserId>, _>>()?;
    let back: Vec<Key> = whom.iter().map(|whom| hide.edge_key(*whom, user)).collect();
    let back = if back.is_empty() { Vec::new() } else { table.get(&back).await? };
    let (mut writes, mut shown) = (Vec::new(), 0);
    for ((whom, item), back) in whom.into_iter().zip(&items).zip(&back) {
        writes.push(Write::delete(item.key.clone()).when(Condition::Version(item.version)));
        if hide == Hide::Block {
            writes.push(Write::delete(follows::edge_key(whom, user)));
        }
        let Some(edge) = Edge::undone(edge_of(Some(item))?) else { continue };
        writes.extend(hide.rows(user, whom, &edge));
        let still_apart = edge_of(back.as_ref())?.is_some_and(|back| back.on);
        match hide {
            // Parted from the other side as well: that goes with what others did.
            Hide::Block if still_apart => {}
            Hide::Block => {
                writes.extend(hidden(whom, -1));
                shown -= 1;
            }
            Hide::Mute => shown -= 1,
        }
    }
    commit_piece(social, hidden_key(user), shown, writes).await
}

/// Removes some blocks or mutes of a user who is marked as deleted, and who hides nobody any more;
/// true when none is left.
pub(crate) async fn remove_of(social: &Social, hide: Hide, user: UserId) -> Result<bool, Problem> {
    let table = social.table.as_ref();
    let page = index(table, hide.of(user), None, REMOVE_EDGES).await?.users;
    let keys: Vec<Key> = page.iter().map(|who| hide.edge_key(*who, user)).collect();
    let items = if keys.is_empty() { Vec::new() } else { table.get(&keys).await? };
    let (mut writes, mut shown) = (Vec::new(), 0);
    for ((who, key), item) in page.into_iter().zip(keys).zip(&items) {
        // Undone between the two reads: the next look finds it gone from the list.
        let Some(edge) = Edge::undone(edge_of(item.as_ref())?) else { return Ok(false) };
        writes.push(Write::delete(key).when(Condition::unchanged(item.as_ref())));
        writes.extend(hide.rows(who, user, &edge));
        writes.extend(hidden(who, -1));
        if hide == Hide::Block {
            writes.push(Write::delete(follows::edge_key(who, user)));
            shown -= 1;
        }
    }
    commit_piece(social, hidden_key(user), shown, writes).await
}

/// How many are hidden, by the counter's item.
pub(crate) fn any_hidden(counter: Option<&Item>) -> bool {
    count(counter) > 0
}
