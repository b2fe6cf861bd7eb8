//! The registry of sockets.

use std::time::Duration;

use aws::redis::SocketRegistry;
use aws::redis::sockets::{Entered, RegistryLimits};
use kernel::{Code, UserId};

use crate::servers::{Cluster, Server, open, settings};

const USER: UserId = UserId(ulid::Ulid(1));
const OTHER: UserId = UserId(ulid::Ulid(2));

fn registry(urls: Vec<String>, limits: RegistryLimits) -> SocketRegistry {
    let cluster = urls.len() > 1;
    SocketRegistry::new(open(&settings(urls, cluster)), limits)
}

async fn enters_and_leaves(registry: SocketRegistry) {
    assert_eq!(registry.enter(USER, "a=").await.unwrap(), Entered::New);
    assert_eq!(registry.enter(USER, "b=").await.unwrap(), Entered::New);
    assert_eq!(registry.enter(OTHER, "c=").await.unwrap(), Entered::New);
    assert_eq!(registry.enter(USER, "a=").await.unwrap(), Entered::Known);
    let nobody = UserId(ulid::Ulid(3));
    let mut open = registry.connections(&[OTHER, nobody, USER]).await.unwrap();
    open.sort();
    let of = |user, connection: &str| (user, connection.to_owned());
    assert_eq!(open, [of(USER, "a="), of(USER, "b="), of(OTHER, "c=")]);
    assert_eq!(registry.user_of("c=").await.unwrap(), Some(OTHER));
    assert_eq!(registry.leave("a=").await.unwrap(), Some(USER));
    assert_eq!(registry.leave("a=").await.unwrap(), None, "it has left");
    registry.forget(OTHER, "c=").await.unwrap();
    registry.forget(OTHER, "c=").await.unwrap();
    assert_eq!(registry.user_of("c=").await.unwrap(), None);
    assert_eq!(registry.connections(&[USER, OTHER]).await.unwrap(), [of(USER, "b=")]);
}

async fn holds_twenty(registry: SocketRegistry) {
    for number in 0..20 {
        registry.enter(USER, &format!("c{number}")).await.unwrap();
    }
    let refused = registry.enter(USER, "c20").await.unwrap_err();
    assert_eq!(refused.code, Code::TooManySockets);
    assert_eq!(registry.user_of("c20").await.unwrap(), None);
    assert_eq!(registry.enter(USER, "c7").await.unwrap(), Entered::Known, "at the limit, too");
    registry.leave("c3").await.unwrap();
    registry.enter(USER, "c20").await.unwrap();
}

#[tokio::test]
async fn it_knows_whose_sockets_are_open() {
    let server = Server::start();
    enters_and_leaves(registry(vec![server.url()], RegistryLimits::default())).await;
    holds_twenty(registry(vec![server.url()], RegistryLimits::default())).await;
}

#[tokio::test]
async fn it_knows_them_on_a_cluster() {
    let cluster = Cluster::start().await;
    enters_and_leaves(registry(cluster.urls(), RegistryLimits::default())).await;
    holds_twenty(registry(cluster.urls(), RegistryLimits::default())).await;
}

#[tokio::test]
async fn twenty_at_once_are_twenty() {
    let server = Server::start();
    let registry = registry(vec![server.url()], RegistryLimits::default());
    let tries: Vec<_> = (0..60)
        .map(|number| {
            let registry = registry.clone();
            tokio::spawn(async move { registry.enter(USER, &format!("c{number}")).await.is_ok() })
        })
        .collect();
    let mut entered = 0;
    for one in tries {
        entered += usize::from(one.await.unwrap());
    }
    assert_eq!(entered, 20);
    assert_eq!(registry.connections(&[USER]).await.unwrap().len(), 20);
}

#[tokio::test]
async fn sockets_that_ended_without_a_word_take_no_place() {
    let server = Server::start();
    let limits = RegistryLimits { sockets_max: 2, kept: Duration::from_millis(300) };
    let registry = registry(vec![server.url()], limits);
    registry.enter(USER, "a").await.unwrap();
    registry.enter(USER, "b").await.unwrap();
    registry.enter(USER, "c").await.unwrap_err();
    // Both were silent for longer than they are kept.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(registry.enter(USER, "c").await.unwrap(), Entered::New);
    assert_eq!(registry.user_of("a").await.unwrap(), None);
    assert_eq!(registry.connections(&[USER]).await.unwrap(), [(USER, "c".to_owned())]);
}
