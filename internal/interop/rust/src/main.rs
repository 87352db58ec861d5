//! One side of a smux session, by the crate `smux` or `async_smux`, for the Go tests of internal/interop.
//!
//!     peer CRATE ROLE CONNECTION OPEN ACCEPT
//!
//! CONNECTION, OPEN and ACCEPT are Unix sockets. The session runs over a connection to CONNECTION. Whoever connects to
//! OPEN gets a new stream. A stream that the peer opens is connected to ACCEPT. The program prints "ready" when it listens
//! at OPEN, and ends with the session, or when its standard input ends.

use std::future::Future;
use std::io::Result;
use std::process::exit;

use tokio::io::{copy, split, stdin, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (client, open, accept) = (args[2] == "client", &args[4], args[5].clone());
    let connection = UnixStream::connect(&args[3]).await.expect("connect");
    let listener = UnixListener::bind(open).expect("listen");
    tokio::spawn(async {
        let _ = stdin().read(&mut [0]).await;
        exit(0);
    });
    match args[1].as_str() {
        "smux" => run_smux(connection, client, listener, accept).await,
        "async_smux" => run_async_smux(connection, client, listener, accept).await,
        other => panic!("no crate {other}"),
    }
    exit(0);
}

async fn run_smux(connection: UnixStream, client: bool, listener: UnixListener, accept: String) {
    let config = smux::Config::default();
    let session = if client {
        smux::Session::client(connection, config).await
    } else {
        smux::Session::server(connection, config).await
    }
    .expect("session");
    println!("ready");
    let opener = session.clone();
    tokio::spawn(async move {
        while let Ok((local, _)) = listener.accept().await {
            let opener = opener.clone();
            tokio::spawn(async move {
                if let Ok(stream) = opener.open_stream().await {
                    join(stream, local).await;
                }
            });
        }
    });
    while let Ok(stream) = session.accept_stream().await {
        connect(stream, accept.clone());
    }
}

async fn run_async_smux(connection: UnixStream, client: bool, listener: UnixListener, accept: String) {
    let builder = if client {
        async_smux::MuxBuilder::client()
    } else {
        async_smux::MuxBuilder::server()
    };
    let (connector, mut acceptor, worker) = { builder }.with_connection(connection).build();
    tokio::spawn(worker);
    println!("ready");
    tokio::spawn(async move {
        while let Ok((local, _)) = listener.accept().await {
            if let Ok(stream) = connector.connect() {
                tokio::spawn(join(stream, local));
            }
        }
    });
    while let Some(stream) = acceptor.accept().await {
        connect(stream, accept.clone());
    }
}

/// Joins a stream that the peer has opened with a new connection to the tests.
fn connect<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S, accept: String) {
    tokio::spawn(async move {
        if let Ok(local) = UnixStream::connect(accept).await {
            join(stream, local).await;
        }
    });
}

/// Copies in both directions. The end of one direction is passed on; an error ends both.
fn join<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S, local: UnixStream) -> impl Future<Output = ()> + Send {
    async move {
        let (stream_in, stream_out) = split(stream);
        let (local_in, local_out) = local.into_split();
        let _ = tokio::try_join!(pass(stream_in, local_out), pass(local_in, stream_out));
    }
}

async fn pass<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(mut from: R, mut to: W) -> Result<()> {
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}
