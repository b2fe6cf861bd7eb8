//! WebSockets pass the edge's checks, and after that the edge is out of their way.

use edge::Config;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::site::{Site, TOKEN};

#[tokio::test]
async fn a_socket_outlives_the_deadline_of_its_request() {
    let site = Site::with(Config { deadline_millis: 200, ..Config::default() });
    let address = site.listen().await;
    let mut by_header = format!("ws://{address}/ws").into_client_request().unwrap();
    let bearer = format!("Bearer {TOKEN}").parse().unwrap();
    by_header.headers_mut().insert("authorization", bearer);
    let by_query = format!("ws://{address}/ws?token={TOKEN}").into_client_request().unwrap();
    for mut request in [by_header, by_query] {
        request.headers_mut().insert("accept-encoding", "gzip, br".parse().unwrap());
        let (mut socket, response) = connect_async(request).await.unwrap();
        assert_eq!(response.status(), 101);
        assert!(response.headers().contains_key("x-request-id"));
        assert!(!response.headers().contains_key("content-encoding"));
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("late"));
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
        socket.close(None).await.unwrap();
    }
}

#[tokio::test]
async fn a_socket_without_a_good_token_is_refused_before_the_upgrade() {
    let address = Site::new().listen().await;
    for uri in ["/ws", "/ws?token=bad", "/ws?token="] {
        let refused = connect_async(format!("ws://{address}{uri}")).await.unwrap_err();
        let Error::Http(response) = refused else { panic!("{refused}") };
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
}
