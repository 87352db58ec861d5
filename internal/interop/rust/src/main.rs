//! One side of a smux session, by the crate `smux` or `async_smux`, for the Go tests of internal/interop.
//!
//!     peer CRATE ROLE OPEN ACCEPT [SETTING=VALUE ...]
//!
//! The session runs over the TCP connection that is file descriptor 3. OPEN and ACCEPT are Unix sockets. Whoever connects
//! to OPEN gets a new stream. A stream that the peer opens is connected to ACCEPT. The program prints "ready" when it
//! listens at OPEN. It answers each line of its standard input with the number of its streams, and ends with the
//! session, or when its standard input ends.
//!
//! A connection that is closed closes its stream: what was written goes out first. One that is shut down for writing
//! does the same to the stream, which for `async_smux` closes it.

use std::future::{pending, Future};
use std::io::{Error, ErrorKind, Result};
use std::num::NonZeroU64;
use std::os::fd::FromRawFd;
use std::process::exit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{copy, split, stdin, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::time::sleep;

/// The settings that the tests vary; the defaults of the crate where the command line has none.
#[derive(Default)]
struct Settings {
    accept_off: bool,
    keep_alive_off: bool,
    keep_alive_interval: Option<Duration>,
    keep_alive_timeout: Option<Duration>,
}

impl Settings {
    fn parse(args: &[String]) -> Settings {
        let mut settings = Settings::default();
        for arg in args {
            let (name, value) = arg.split_once('=').expect("SETTING=VALUE");
            let millis = || Some(Duration::from_millis(value.parse().expect("milliseconds")));
            match name {
                "accept" => settings.accept_off = value == "off",
                "keep-alive" => settings.keep_alive_off = value == "off",
                "interval" => settings.keep_alive_interval = millis(),
                "timeout" => settings.keep_alive_timeout = millis(),
                _ => panic!("no setting {name}"),
            }
        }
        settings
    }
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (client, open, accept) = (args[2] == "client", &args[3], args[4].clone());
    let settings = Settings::parse(&args[5..]);
    // The tests have made it, and nothing else uses it.
    let connection = unsafe { std::net::TcpStream::from_raw_fd(3) };
    connection.set_nonblocking(true).expect("non-blocking");
    let connection = TcpStream::from_std(connection).expect("connection");
    let listener = UnixListener::bind(open).expect("listen");
    tokio::spawn(answer());
    match args[1].as_str() {
        "smux" => run_smux(connection, client, settings, listener, accept).await,
        "async_smux" => run_async_smux(connection, client, settings, listener, accept).await,
        other => panic!("no crate {other}"),
    }
    end().await; // the end of main would wait for the standard input
}

/// The number of streams that are held.
static STREAMS: AtomicUsize = AtomicUsize::new(0);

async fn answer() {
    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(_)) = lines.next_line().await {
        println!("{}", STREAMS.load(Ordering::SeqCst));
    }
    exit(0);
}

/// Ends the program after the session. What has arrived is passed on first.
async fn end() {
    sleep(Duration::from_millis(500)).await;
    exit(0);
}

async fn run_smux(connection: TcpStream, client: bool, settings: Settings, listener: UnixListener, accept: String) {
    let mut config = smux::Config::default();
    config.enable_keep_alive = !settings.keep_alive_off;
    config.keep_alive_interval = settings.keep_alive_interval.unwrap_or(config.keep_alive_interval);
    config.keep_alive_timeout = settings.keep_alive_timeout.unwrap_or(config.keep_alive_timeout);
    let session = if client {
        smux::Session::client(connection, config).await
    } else {
        smux::Session::server(connection, config).await
    }
    .expect("session");
    println!("ready");
    // Its accept_stream may miss the end of the session, and wait for ever.
    let watched = session.clone();
    tokio::spawn(async move {
        while !watched.is_closed() {
            sleep(Duration::from_millis(50)).await;
        }
        end().await;
    });
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
    if settings.accept_off {
        return pending().await;
    }
    while let Ok(stream) = session.accept_stream().await {
        connect(stream, accept.clone());
    }
}

/// Its keep-alive is off by default, counts whole seconds, and gives up nobody.
async fn run_async_smux(connection: TcpStream, client: bool, settings: Settings, listener: UnixListener, accept: String) {
    let mut builder = if client {
        async_smux::MuxBuilder::client()
    } else {
        async_smux::MuxBuilder::server()
    };
    if let Some(interval) = settings.keep_alive_interval {
        builder.with_keep_alive_interval(NonZeroU64::new(interval.as_secs().max(1)).unwrap());
    }
    let (connector, mut acceptor, worker) = builder.with_connection(connection).build();
    tokio::spawn(async move {
        let _ = worker.await;
        end().await;
    });
    println!("ready");
    tokio::spawn(async move {
        while let Ok((local, _)) = listener.accept().await {
            if let Ok(stream) = connector.connect() {
                tokio::spawn(join(stream, local));
            }
        }
    });
    if settings.accept_off {
        return pending().await;
    }
    while let Some(stream) = acceptor.accept().await {
        connect(stream, accept.clone());
    }
}

/// Joins a stream that the peer has opened with a new connection to the tests.
fn connect<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S, accept: String) {
    tokio::spawn(async move {
        loop {
            match UnixStream::connect(&accept).await {
                Ok(local) => return join(stream, local).await,
                // The queue of the socket is full.
                Err(e) if e.kind() == ErrorKind::WouldBlock => sleep(Duration::from_millis(1)).await,
                Err(_) => return,
            }
        }
    });
}

/// Copies in both directions. The end of one direction is passed on; an error ends both.
fn join<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S, local: UnixStream) -> impl Future<Output = ()> + Send {
    STREAMS.fetch_add(1, Ordering::SeqCst);
    async move {
        let (stream_in, stream_out) = split(stream);
        let (local_in, local_out) = local.into_split();
        let _ = tokio::try_join!(receive(stream_in, local_out), send(local_in, stream_out));
        STREAMS.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn receive<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(mut from: R, mut to: W) -> Result<()> {
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}

/// One read takes more than the largest frame, so that a write of the tests can become one frame.
const READ_SIZE: usize = 65_536;

/// If the stream takes no more, what it has received can still be read. (`async_smux` fails each call of the sending side
/// once the peer has sent FIN.)
async fn send<W: AsyncWrite + Unpin>(mut from: OwnedReadHalf, mut to: W) -> Result<()> {
    let mut data = vec![0; READ_SIZE];
    loop {
        let n = from.read(&mut data).await?;
        if n == 0 {
            break;
        }
        if to.write_all(&data[..n]).await.is_err() {
            return Ok(());
        }
    }
    if to.shutdown().await.is_err() {
        return Ok(());
    }
    // An empty write fails if the other end was closed, and not only shut down for writing.
    match from.as_ref().try_write(&[]) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Error::from(ErrorKind::BrokenPipe)),
        _ => Ok(()),
    }
}
