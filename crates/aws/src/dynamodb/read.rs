//! Reading by key, and walking through a partition. Every read is consistent.

use std::collections::{HashMap, HashSet};
use std::ops::{Bound, RangeBounds};

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use kernel::table::{Item, Items, Key, Order, Query, SORT_BYTES_MAX, TableError};

use super::DynamoTable;
use super::fault::{again, refusal, unbuilt};
use super::item::{self, Attributes, is_live};

/// Bytes of bodies after which a page ends, whatever its limit.
const QUERY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Items to ask for at least, when the first answer held too few that have not expired.
const MORE_ITEMS_MIN: usize = 100;

impl DynamoTable {
    pub(super) async fn get_item(&self, key: &Key) -> Result<Option<Item>, TableError> {
        let now = self.clock.now();
        self.asked("GetItem");
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(item::key(key)))
            .consistent_read(true)
            .set_return_consumed_capacity(self.capacity())
            .send()
            .await
            .map_err(|error| refusal(&error))?;
        self.used("GetItem", answer.consumed_capacity());
        let found = answer.item.map(item::read).transpose()?;
        Ok(found.filter(|item| is_live(item, now)))
    }

    /// Several keys. DynamoDB takes each only once, answers in any order and at most 16 MB, and
    /// leaves out what is too much for it at the moment.
    pub(super) async fn batch_get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, TableError> {
        let now = self.clock.now();
        let distinct: HashSet<&Key> = keys.iter().collect();
        let mut wanted: Vec<Attributes> = distinct.into_iter().map(item::key).collect();
        let mut found: HashMap<Key, Item> = HashMap::with_capacity(wanted.len());
        let mut round = 0;
        loop {
            let asked = wanted.len();
            let (items, left) = self.batch_get_once(wanted).await?;
            for attributes in items {
                let item = item::read(attributes)?;
                if is_live(&item, now) {
                    found.insert(item.key.clone(), item);
                }
            }
            if left.is_empty() {
                return Ok(keys.iter().map(|key| found.get(key).cloned()).collect());
            }
            round = again(round, asked, left.len()).await?;
            wanted = left;
        }
    }

    /// One request: the items found, and the keys not looked at.
    async fn batch_get_once(
        &self,
        keys: Vec<Attributes>,
    ) -> Result<(Vec<Attributes>, Vec<Attributes>), TableError> {
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .consistent_read(true)
            .build()
            .map_err(|error| unbuilt(&error))?;
        self.asked("BatchGetItem");
        let mut answer = self
            .client
            .batch_get_item()
            .request_items(&self.name, wanted)
            .set_return_consumed_capacity(self.capacity())
            .send()
            .await
            .map_err(|error| refusal(&error))?;
        self.used("BatchGetItem", answer.consumed_capacity());
        let items = answer.responses.as_mut().and_then(|tables| tables.remove(&self.name));
        let left = answer.unprocessed_keys.as_mut().and_then(|tables| tables.remove(&self.name));
        Ok((items.unwrap_or_default(), left.map(|left| left.keys).unwrap_or_default()))
    }

    /// Walks until `limit` items that have not expired are found, or the end. One more than that is
    /// asked for, since DynamoDB does not tell a full page from the end.
    pub(super) async fn walk(&self, query: &Query) -> Result<Items, TableError> {
        let Some(range) = Range::of(query) else { return Ok(Items::default()) };
        let now = self.clock.now();
        let bounds = (query.from.clone(), query.to.clone());
        let mut found = Items::default();
        let (mut bytes, mut start) = (0, None);
        let mut limit = query.limit + 1;
        loop {
            let (items, next) = self.walk_once(query, &range, limit, start).await?;
            for attributes in items {
                let item = item::read(attributes)?;
                if !bounds.contains(&item.key.sort) || !is_live(&item, now) {
                    continue;
                }
                if found.items.len() == query.limit || bytes > QUERY_BYTES_MAX {
                    found.next = found.items.last().map(|item| item.key.sort.clone());
                    return Ok(found);
                }
                bytes += item.key.sort.len() + item.body.len();
                found.items.push(item);
            }
            if next.is_none() {
                return Ok(found);
            }
            start = next;
            limit = (query.limit + 1 - found.items.len()).max(MORE_ITEMS_MIN);
        }
    }

    /// One request: the items, expired ones too, and where to go on.
    async fn walk_once(
        &self,
        query: &Query,
        range: &Range,
        limit: usize,
        start: Option<Attributes>,
    ) -> Result<(Vec<Attributes>, Option<Attributes>), TableError> {
        self.asked("Query");
        let answer = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression(range.condition)
            .set_expression_attribute_values(Some(range.values.clone()))
            .scan_index_forward(query.order == Order::Ascending)
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start)
            .set_return_consumed_capacity(self.capacity())
            .send()
            .await
            .map_err(|error| refusal(&error))?;
        self.used("Query", answer.consumed_capacity());
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }
}

/// A query's bounds as DynamoDB has them: one comparison, or both ends included. What it finds
/// beyond the real bounds is left out afterwards.
struct Range {
    condition: &'static str,
    values: HashMap<String, AttributeValue>,
}

impl Range {
    /// None when no sort key can lie in between.
    fn of(query: &Query) -> Option<Self> {
        let partition = AttributeValue::S(query.partition.clone());
        let mut values = HashMap::from([(":pk".to_owned(), partition)]);
        let (from, to) = (floor(&query.from), ceiling(&query.to));
        if let (Some((from, _)), Some((to, _))) = (from, to)
            && from > to
        {
            return None;
        }
        let condition = match (from, to) {
            (None, None) => "pk = :pk",
            (Some((_, true)), None) => "pk = :pk AND sk >= :from",
            (Some((_, false)), None) => "pk = :pk AND sk > :from",
            (None, Some((_, true))) => "pk = :pk AND sk <= :to",
            (None, Some((_, false))) => "pk = :pk AND sk < :to",
            (Some(_), Some(_)) => "pk = :pk AND sk BETWEEN :from AND :to",
        };
        values.extend(from.map(|(from, _)| (":from".to_owned(), item::sort(from))));
        values.extend(to.map(|(to, _)| (":to".to_owned(), item::sort(to))));
        Some(Self { condition, values })
    }
}

/// The smallest sort key to look at, and whether it is itself meant. DynamoDB takes none that is
/// longer than a key may be; what such a one begins with is smaller than it.
fn floor(bound: &Bound<String>) -> Option<(&str, bool)> {
    match bound {
        Bound::Unbounded => None,
        Bound::Included(sort) | Bound::Excluded(sort) if sort.len() > SORT_BYTES_MAX => {
            Some((&sort[..sort.floor_char_boundary(SORT_BYTES_MAX)], true))
        }
        Bound::Included(sort) => Some((sort, true)),
        Bound::Excluded(sort) => Some((sort, false)),
    }
}

/// The largest sort key to look at, and whether it is itself meant; none when it is too long.
fn ceiling(bound: &Bound<String>) -> Option<(&str, bool)> {
    match bound {
        Bound::Included(sort) if sort.len() <= SORT_BYTES_MAX => Some((sort, true)),
        Bound::Excluded(sort) if sort.len() <= SORT_BYTES_MAX => Some((sort, false)),
        _ => None,
    }
}
