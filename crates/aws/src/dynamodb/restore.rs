//! A table made equal to another: DynamoDB restores to a point in time only into a new table, and a
//! table cannot take another name. So what the new one holds is brought back, and the old one keeps
//! its name, its stream and its rights.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::scan::builders::ScanFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, DeleteRequest, KeysAndAttributes, PutRequest, WriteRequest,
};
use kernel::table::TableError;

use super::fault::{again, refusal, unbuilt};
use super::item::Attributes;

/// What one request takes, at most.
const KEYS_MAX: usize = 100;
const WRITES_MAX: usize = 25;

/// What was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Items that were not there, or others.
    pub written: u64,
    /// Items that the other table does not hold.
    pub deleted: u64,
}

/// Makes the table `name` hold what `like` holds, and nothing else. Reads both, and writes only
/// what differs, or with `dry_run` only counts it; repeatable. Nobody else may write meanwhile.
pub async fn make_equal(
    client: &Client,
    name: &str,
    like: &str,
    dry_run: bool,
) -> Result<Changed, TableError> {
    let mut changed = Changed::default();
    let mut pages = Pages::of(client, name, false);
    while let Some(items) = pages.next().await? {
        for items in items.chunks(KEYS_MAX) {
            let mut wanted = get(client, like, items).await?;
            let mut writes = Vec::new();
            for item in items {
                match wanted.remove(&place(item)?) {
                    None => {
                        changed.deleted += 1;
                        writes.push(delete(item)?);
                    }
                    Some(other) if other != *item => {
                        changed.written += 1;
                        writes.push(put(other)?);
                    }
                    Some(_) => {}
                }
            }
            if !dry_run {
                write(client, name, writes).await?;
            }
        }
    }
    let mut pages = Pages::of(client, like, false);
    while let Some(items) = pages.next().await? {
        for items in items.chunks(KEYS_MAX) {
            let there = get(client, name, items).await?;
            let mut writes = Vec::new();
            for item in items {
                if !there.contains_key(&place(item)?) {
                    changed.written += 1;
                    writes.push(put(item.clone())?);
                }
            }
            if !dry_run {
                write(client, name, writes).await?;
            }
        }
    }
    Ok(changed)
}

/// The names of all partitions of a table.
pub async fn partitions(client: &Client, name: &str) -> Result<BTreeSet<String>, TableError> {
    let mut all = BTreeSet::new();
    let mut pages = Pages::of(client, name, true);
    while let Some(items) = pages.next().await? {
        for item in &items {
            all.insert(text(item, "pk")?);
        }
    }
    Ok(all)
}

/// A walk through the whole of a table.
struct Pages {
    scan: ScanFluentBuilder,
    start: Option<Attributes>,
    ended: bool,
}

impl Pages {
    fn of(client: &Client, name: &str, partitions: bool) -> Self {
        let scan = client.scan().table_name(name).consistent_read(true);
        let scan = if partitions { scan.projection_expression("pk") } else { scan };
        Self { scan, start: None, ended: false }
    }

    async fn next(&mut self) -> Result<Option<Vec<Attributes>>, TableError> {
        if self.ended {
            return Ok(None);
        }
        let page = self.scan.clone().set_exclusive_start_key(self.start.take()).send().await;
        let page = page.map_err(|error| refusal(&error))?;
        self.ended = page.last_evaluated_key.is_none();
        self.start = page.last_evaluated_key;
        Ok(Some(page.items.unwrap_or_default()))
    }
}

/// Where an item is: its partition and sort key.
type Place = (String, String);

fn place(item: &Attributes) -> Result<Place, TableError> {
    Ok((text(item, "pk")?, text(item, "sk")?))
}

fn text(item: &Attributes, name: &str) -> Result<String, TableError> {
    match item.get(name) {
        Some(AttributeValue::S(text)) => Ok(text.clone()),
        _ => Err(TableError::Malformed(format!("an item has no {name}"))),
    }
}

fn key(item: &Attributes) -> Attributes {
    let keys = ["pk", "sk"].into_iter();
    keys.filter_map(|name| Some((name.to_owned(), item.get(name)?.clone()))).collect()
}

fn put(item: Attributes) -> Result<WriteRequest, TableError> {
    let put = PutRequest::builder().set_item(Some(item)).build();
    Ok(WriteRequest::builder().put_request(put.map_err(|error| unbuilt(&error))?).build())
}

fn delete(item: &Attributes) -> Result<WriteRequest, TableError> {
    let delete = DeleteRequest::builder().set_key(Some(key(item))).build();
    Ok(WriteRequest::builder().delete_request(delete.map_err(|error| unbuilt(&error))?).build())
}

/// What a table holds at the keys of these items.
async fn get(
    client: &Client,
    name: &str,
    items: &[Attributes],
) -> Result<HashMap<Place, Attributes>, TableError> {
    let mut wanted: Vec<Attributes> = items.iter().map(key).collect();
    let mut found = HashMap::with_capacity(wanted.len());
    let mut round = 0;
    loop {
        let asked = wanted.len();
        let keys = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true);
        let keys = keys.build().map_err(|error| unbuilt(&error))?;
        let answer = client.batch_get_item().request_items(name, keys).send().await;
        let answer = answer.map_err(|error| refusal(&error))?;
        for item in answer.responses.into_iter().flatten().flat_map(|(_, items)| items) {
            found.insert(place(&item)?, item);
        }
        let left = answer.unprocessed_keys.into_iter().flatten();
        wanted = left.flat_map(|(_, left)| left.keys).collect();
        if wanted.is_empty() {
            return Ok(found);
        }
        round = again(round, asked, wanted.len()).await?;
    }
}

async fn write(client: &Client, name: &str, writes: Vec<WriteRequest>) -> Result<(), TableError> {
    for batch in writes.chunks(WRITES_MAX) {
        let mut wanted = batch.to_vec();
        let mut round = 0;
        loop {
            let asked = wanted.len();
            let answer = client.batch_write_item().request_items(name, wanted).send().await;
            let left = answer.map_err(|error| refusal(&error))?.unprocessed_items;
            wanted = left.into_iter().flatten().flat_map(|(_, left)| left).collect();
            if wanted.is_empty() {
                break;
            }
            round = again(round, asked, wanted.len()).await?;
        }
    }
    Ok(())
}
