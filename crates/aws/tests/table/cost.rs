//! What the table costs. Both emulators count alike, and as DynamoDB's documentation says.

use std::sync::Arc;

use aws::dynamodb::{DynamoTable, Meter};
use kernel::table::{Condition, Key, Query, Scatter, Table, Write};

use crate::stage::Stage;

fn key(sort: &str) -> Key {
    Key::new("p", sort)
}

fn metered(stage: &Stage) -> (DynamoTable, Arc<Meter>) {
    let meter = Arc::new(Meter::default());
    (stage.table_at(stage.client()).metered(Arc::clone(&meter)), meter)
}

/// What was used since the last look, as (operation, requests, units).
fn used(meter: &Meter) -> Vec<(&'static str, u64, f64)> {
    let used = meter.take().into_iter();
    used.map(|(operation, usage)| (operation, usage.requests, usage.units)).collect()
}

#[tokio::test]
async fn one_write_costs_half_of_a_transactions() {
    for stage in [Stage::new(), Stage::on_dynoxide()] {
        let (table, meter) = metered(&stage);
        table.commit(vec![Write::put(key("a"), "1").when(Condition::Absent)]).await.unwrap();
        assert_eq!(used(&meter), [("PutItem", 1, 1.0)]);
        table.commit(vec![Write::add(key("a"), 1)]).await.unwrap();
        assert_eq!(used(&meter), [("UpdateItem", 1, 1.0)]);
        table.commit(vec![Write::put(key("a"), "2"), Write::put(key("b"), "")]).await.unwrap();
        assert_eq!(used(&meter), [("TransactWriteItems", 1, 4.0)]);
        table.commit(vec![Write::delete(key("a"))]).await.unwrap();
        assert_eq!(used(&meter), [("DeleteItem", 1, 1.0)]);
    }
}

#[tokio::test]
async fn a_check_alone_costs_a_read() {
    for stage in [Stage::new(), Stage::on_dynoxide()] {
        let (table, meter) = metered(&stage);
        table.commit(vec![Write::check(key("a"), Condition::Absent)]).await.unwrap();
        assert_eq!(used(&meter), [("GetItem", 1, 1.0)]);
        table.commit(vec![Write::check(key("a"), Condition::Always)]).await.unwrap();
        assert_eq!(used(&meter), []);
    }
}

#[tokio::test]
async fn reads_cost_by_what_they_touch() {
    for stage in [Stage::new(), Stage::on_dynoxide()] {
        let (table, meter) = metered(&stage);
        let put = |n: u32| {
            let body = vec![b'x'; 300].into();
            Scatter::Put { key: key(&format!("{n:02}")), body, expires_at: None }
        };
        table.scatter((0..60).map(put).collect()).await.unwrap();
        assert_eq!(used(&meter), [("BatchWriteItem", 3, 60.0)]);
        table.get(&[key("01")]).await.unwrap();
        assert_eq!(used(&meter), [("GetItem", 1, 1.0)]);
        table.get(&["01", "02", "01", "03"].map(key)).await.unwrap();
        assert_eq!(used(&meter), [("BatchGetItem", 1, 3.0)]);
        // 21 items of about 310 bytes are looked at for a page of 20 and its `next`: 2 units, of
        // 4 KB each.
        table.query(Query::all("p", 20)).await.unwrap();
        assert_eq!(used(&meter), [("Query", 1, 2.0)]);
    }
}

#[tokio::test]
async fn one_meter_may_serve_many_tables_and_none_is_needed() {
    let (stage, meter) = (Stage::new(), Arc::new(Meter::default()));
    for _ in 0..2 {
        let table = stage.table_at(stage.client()).metered(Arc::clone(&meter));
        table.get(&[key("a")]).await.unwrap();
    }
    stage.table().get(&[key("a")]).await.unwrap();
    assert_eq!(used(&meter), [("GetItem", 2, 2.0)]);
}
