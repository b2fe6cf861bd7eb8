//! Profiles and handles on the table.

use kernel::acts::{self, Act};
use kernel::table::{
    Attempt, Condition, GET_KEYS_MAX, Item, Key, Table, TableError, Write, get_one, retry,
};
use kernel::{Code, Event, Problem, Profile, Time, UserId, outbox};
use serde::{Deserialize, Serialize};

use crate::{care, search};

pub(crate) const PROFILES: &str = "profile#";
pub(crate) const HANDLES: &str = "handle#";
/// What partitions begin with whose sort keys hold what people are called.
pub const SEARCH: &str = "search#";

/// Whose a handle is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Owner {
    pub(crate) user_id: UserId,
}

pub(crate) fn profile_key(user: UserId) -> Key {
    Key::new(format!("{PROFILES}{user}"), "")
}

pub(crate) fn handle_key(handle: &str) -> Key {
    Key::new(format!("{HANDLES}{handle}"), "")
}

pub(crate) const GONE: &str = "gone#";

pub(crate) fn gone_key(user: UserId) -> Key {
    Key::new(format!("{GONE}{user}"), "")
}

/// How often a user was suspended and restored.
fn standing_key(user: UserId) -> Key {
    Key::new(user.prefixed("standing#"), "")
}

/// A suspended user, as they were and will be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Suspended {
    pub(crate) profile: Profile,
    /// By whom, when and why.
    pub(crate) act: Act,
}

/// Why there is no profile of a user who has registered.
#[derive(Clone, Debug)]
pub(crate) enum Absence {
    /// They are deleted.
    Deleted,
    /// They are suspended.
    Suspended(Box<Suspended>),
}

impl Absence {
    /// What the row of an absent user says: nothing of one who is deleted.
    pub(crate) fn of(row: &Item) -> Result<Self, TableError> {
        if row.body.is_empty() {
            return Ok(Self::Deleted);
        }
        Ok(Self::Suspended(Box::new(row.json()?)))
    }
}

pub(crate) fn handle_taken() -> Problem {
    Problem::new(Code::HandleTaken, "Somebody else has this handle.")
}

/// Profiles by id, in the ids' order.
pub(crate) async fn profiles(
    table: &dyn Table,
    ids: &[UserId],
) -> Result<Vec<Option<Profile>>, TableError> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(GET_KEYS_MAX) {
        let keys: Vec<Key> = ids.iter().map(|id| profile_key(*id)).collect();
        for item in table.get(&keys).await? {
            found.push(item.as_ref().map(Item::json).transpose()?);
        }
    }
    Ok(found)
}

/// One profile.
pub(crate) async fn profile(
    table: &dyn Table,
    user: UserId,
) -> Result<Option<Profile>, TableError> {
    get_one(table, profile_key(user)).await?.map(|item| item.json()).transpose()
}

/// The profile behind a handle; none also while its registration is under way.
pub(crate) async fn by_handle(
    table: &dyn Table,
    handle: &str,
) -> Result<Option<Profile>, TableError> {
    match get_one(table, handle_key(handle)).await? {
        Some(row) => profile(table, row.json::<Owner>()?.user_id).await,
        None => Ok(None),
    }
}

/// Whether, and why, the user is absent.
pub(crate) async fn absence(
    table: &dyn Table,
    user: UserId,
) -> Result<Option<Absence>, TableError> {
    get_one(table, gone_key(user)).await?.as_ref().map(Absence::of).transpose()
}

/// The user behind a handle, absent or not.
pub(crate) async fn owner(table: &dyn Table, handle: &str) -> Result<Option<UserId>, TableError> {
    let row = get_one(table, handle_key(handle)).await?;
    row.map(|row| Ok(row.json::<Owner>()?.user_id)).transpose()
}

/// Holds a handle for a registration; false when it is somebody else's.
pub(crate) async fn hold_handle(
    table: &dyn Table,
    handle: &str,
    user: UserId,
    until: Time,
) -> Result<bool, Problem> {
    let row = Write::put_json(handle_key(handle), &Owner { user_id: user }).expiring(until);
    retry(|| async {
        match table.commit(vec![row.clone().when(Condition::Absent)]).await {
            Ok(()) => Ok(true),
            Err(TableError::Unmet(_)) => match get_one(table, handle_key(handle)).await? {
                Some(row) => Ok(row.json::<Owner>()?.user_id == user),
                None => Err(Attempt::Again),
            },
            Err(error) => Err(error.into()),
        }
    })
    .await
}

/// Whether a registration under way holds a handle.
pub(crate) async fn is_held(table: &dyn Table, handle: &str) -> Result<bool, TableError> {
    Ok(get_one(table, handle_key(handle)).await?.is_some_and(|row| row.expires_at.is_some()))
}

/// Lets a held handle go. A failure is harmless: it goes by itself in a few minutes.
pub(crate) async fn release_handle(table: &dyn Table, handle: &str, user: UserId) {
    let released = retry(|| async {
        let Some(row) = get_one(table, handle_key(handle)).await? else { return Ok(()) };
        if row.expires_at.is_none() || row.json::<Owner>()?.user_id != user {
            return Ok(());
        }
        let write = Write::delete(row.key).when(Condition::Version(row.version));
        Ok(table.commit(vec![write]).await?)
    });
    if let Err(problem) = released.await {
        tracing::warn!(handle, error = &problem as &dyn std::error::Error, "handle not released");
    }
}

/// How writing a new profile ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Insertion {
    /// It is written.
    Done,
    /// The user has a profile already.
    Exists,
    /// The user was deleted, or suspended.
    Gone,
    /// Somebody else has the handle.
    HandleTaken,
}

/// Writes a new profile with all its rows and its event. The handle must be free, or held for this
/// user.
pub(crate) async fn insert(
    table: &dyn Table,
    profile: &Profile,
    event: &Event,
) -> Result<Insertion, Problem> {
    retry(|| async {
        let owner = Owner { user_id: profile.user_id };
        let handle = get_one(table, handle_key(&profile.handle)).await?;
        let handle_is = match handle {
            None => Condition::Absent,
            Some(row) if row.json::<Owner>()?.user_id == owner.user_id => {
                Condition::Version(row.version)
            }
            Some(_) => return Ok(Insertion::HandleTaken),
        };
        let mut writes = vec![
            Write::put_json(profile_key(owner.user_id), profile).when(Condition::Absent),
            Write::check(gone_key(owner.user_id), Condition::Absent),
            Write::put_json(handle_key(&profile.handle), &owner).when(handle_is),
            outbox::write(event),
        ];
        writes.extend(search::keys(profile).into_iter().map(|key| Write::put_json(key, profile)));
        match table.commit(writes).await {
            Ok(()) => Ok(Insertion::Done),
            Err(TableError::Unmet(0)) => Ok(Insertion::Exists),
            Err(TableError::Unmet(1)) => Ok(Insertion::Gone),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

/// Changes a profile; `change` answers none where there is nothing to do, `event` tells the new
/// profile. None when there is no such user.
pub(crate) async fn update(
    table: &dyn Table,
    user: UserId,
    change: impl Fn(&Profile) -> Option<Profile> + Sync,
    event: impl Fn(&Profile) -> Event + Sync,
) -> Result<Option<Profile>, Problem> {
    retry(|| async {
        let Some(row) = get_one(table, profile_key(user)).await? else { return Ok(None) };
        let before: Profile = row.json()?;
        let Some(after) = change(&before) else { return Ok(Some(before)) };
        let (old, new) = (search::keys(&before), search::keys(&after));
        let mut writes = vec![
            Write::put_json(row.key, &after).when(Condition::Version(row.version)),
            outbox::write(&event(&after)),
        ];
        if after.handle != before.handle {
            let owner = Owner { user_id: user };
            let taking = Write::put_json(handle_key(&after.handle), &owner);
            writes.push(taking.when(Condition::Absent));
            writes.push(Write::delete(handle_key(&before.handle)));
        }
        writes.extend(old.into_iter().filter(|key| !new.contains(key)).map(Write::delete));
        writes.extend(new.into_iter().map(|key| Write::put_json(key, &after)));
        match table.commit(writes).await {
            Ok(()) => Ok(Some(after)),
            Err(TableError::Unmet(2)) => Err(Attempt::Refused(handle_taken())),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

/// Removes a profile with all its rows, and leaves the mark of a deleted user and the event. False
/// when there is no such user.
pub(crate) async fn delete(
    table: &dyn Table,
    user: UserId,
    event: &Event,
) -> Result<bool, Problem> {
    retry(|| async {
        let Some(row) = get_one(table, profile_key(user)).await? else { return Ok(false) };
        let profile: Profile = row.json()?;
        let mut writes = vec![
            Write::delete(row.key).when(Condition::Version(row.version)),
            Write::delete(handle_key(&profile.handle)),
            Write::put(gone_key(user), ""),
            Write::delete(care::confirmed_key(user)),
            outbox::write(event),
        ];
        writes.extend(search::keys(&profile).into_iter().map(Write::delete));
        table.commit(writes).await?;
        Ok(true)
    })
    .await
}

/// What an order about a user found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ordered {
    /// Done.
    Done,
    /// It was so already.
    Already,
    /// There is no such user.
    Unknown,
}

/// What there is of a user: the profile, the mark of their absence, how often that changed.
async fn rows_of(table: &dyn Table, user: UserId) -> Result<[Option<Item>; 3], Attempt> {
    let keys = [profile_key(user), gone_key(user), standing_key(user)];
    table.get(&keys).await?.try_into().map_err(|_| Attempt::Again)
}

/// Puts a profile away with all its rows but the handle, which stays theirs. `event` tells the
/// version.
pub(crate) async fn suspend(
    table: &dyn Table,
    user: UserId,
    act: &Act,
    event: impl Fn(u64) -> Event + Sync,
) -> Result<Ordered, Problem> {
    retry(|| async {
        let [row, gone, standing] = rows_of(table, user).await?;
        match gone.as_ref().map(Absence::of).transpose()? {
            None => {}
            Some(Absence::Suspended(_)) => return Ok(Ordered::Already),
            Some(Absence::Deleted) => return Ok(Ordered::Unknown),
        }
        let Some(row) = row else { return Ok(Ordered::Unknown) };
        let profile: Profile = row.json()?;
        let away = Suspended { profile: profile.clone(), act: act.clone() };
        let mut writes = vec![
            Write::delete(row.key).when(Condition::Version(row.version)),
            Write::put_json(gone_key(user), &away).when(Condition::Absent),
        ];
        writes.extend(told(standing.as_ref(), user, act, &event)?);
        writes.extend(search::keys(&profile).into_iter().map(Write::delete));
        table.commit(writes).await?;
        Ok(Ordered::Done)
    })
    .await
}

/// Brings a profile back that was put away.
pub(crate) async fn restore(
    table: &dyn Table,
    user: UserId,
    act: &Act,
    event: impl Fn(u64) -> Event + Sync,
) -> Result<Ordered, Problem> {
    retry(|| async {
        let [row, gone, standing] = rows_of(table, user).await?;
        let Some(gone) = gone else {
            return Ok(if row.is_some() { Ordered::Already } else { Ordered::Unknown });
        };
        let Absence::Suspended(away) = Absence::of(&gone)? else { return Ok(Ordered::Unknown) };
        let profile = &away.profile;
        let mut writes = vec![
            Write::put_json(profile_key(user), profile).when(Condition::Absent),
            Write::delete(gone.key).when(Condition::Version(gone.version)),
        ];
        writes.extend(told(standing.as_ref(), user, act, &event)?);
        writes.extend(search::keys(profile).into_iter().map(|key| Write::put_json(key, profile)));
        table.commit(writes).await?;
        Ok(Ordered::Done)
    })
    .await
}

/// The writes that go with a suspension or its end: its number, the act, the event.
fn told(
    standing: Option<&Item>,
    user: UserId,
    act: &Act,
    event: &(impl Fn(u64) -> Event + Sync),
) -> Result<[Write; 3], TableError> {
    let version = standing.map(Item::json::<u64>).transpose()?.unwrap_or(0) + 1;
    let number = Write::put_json(standing_key(user), &version);
    Ok([
        number.when(Condition::unchanged(standing)),
        acts::write(act),
        outbox::write(&event(version)),
    ])
}
