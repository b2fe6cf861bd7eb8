//! Listening sockets: bound here, or handed over by a service manager that keeps them open from one
//! process to the next (`LISTEN_FDS`, as systemd does it), so that clients wait through a restart
//! where they would be refused.

use std::io;
use std::net::{SocketAddr, TcpListener};

use axum::extract::connect_info::Connected;
use axum_server::{AddrListener, Address, Server};
use listenfd::ListenFd;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// A socket that listens.
pub(crate) struct Listener {
    socket: TcpListener,
    /// Whether it outlives this process.
    pub(crate) outlives: bool,
}

/// Both sockets, the public one and the admin one: those handed over in this order, else bound.
pub(crate) fn open(public: SocketAddr, admin: SocketAddr) -> Result<(Listener, Listener), Failure> {
    let mut handed = ListenFd::from_env();
    let mut one = |index, option, address| {
        let taken = handed.take_tcp_listener(index).map_err(|error| {
            Failure::usage(format!("LISTEN_FDS: socket {index} does not listen on TCP: {error}"))
        })?;
        match taken {
            Some(socket) => Ok(Listener { socket, outlives: true }),
            None => bind(option, address),
        }
    };
    Ok((one(0, "listen", public)?, one(1, "admin_listen", admin)?))
}

fn bind(option: &str, address: SocketAddr) -> Result<Listener, Failure> {
    let socket = TcpListener::bind(address).map_err(|error| {
        Failure::usage(format!("{option}: cannot listen on {address}: {error}"))
    })?;
    Ok(Listener { socket, outlives: false })
}

impl Listener {
    pub(crate) fn address(&self) -> Result<SocketAddr, Failure> {
        self.socket.local_addr().map_err(Failure::failed)
    }

    /// A server on it, which accepts until `closed`; who comes later is left to the next process.
    pub(crate) fn server(self, closed: CancellationToken) -> io::Result<Server<Client>> {
        self.socket.set_nonblocking(true)?;
        let socket = tokio::net::TcpListener::from_std(self.socket)?;
        Ok(Server::from_listener(Door { socket, closed }))
    }
}

/// A listening socket that can stop accepting before its server stops serving.
pub(crate) struct Door {
    socket: tokio::net::TcpListener,
    closed: CancellationToken,
}

/// The address of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client(SocketAddr);

impl Connected<Client> for SocketAddr {
    fn connect_info(client: Client) -> Self {
        client.0
    }
}

impl Address for Client {
    type Stream = TcpStream;
    type Listener = Door;
}

impl AddrListener<TcpStream, Client> for Door {
    async fn bind_to(address: Client) -> io::Result<Self> {
        let socket = tokio::net::TcpListener::bind(address.0).await?;
        Ok(Self { socket, closed: CancellationToken::new() })
    }

    async fn accept_stream(&self) -> io::Result<(TcpStream, Client)> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => std::future::pending().await,
            accepted = self.socket.accept() => {
                accepted.map(|(stream, address)| (stream, Client(address)))
            }
        }
    }

    fn get_local_addr(&self) -> io::Result<Client> {
        self.socket.local_addr().map(Client)
    }
}
